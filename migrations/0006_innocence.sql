-- What tells a worker that died from a task that kills its workers.

-- When the first claim of the current row of stalled claims was written: claims in a row without a finished call. NULL
-- as soon as a call of the claim has finished.
ALTER TABLE tasks ADD COLUMN stalled_since INTEGER;

-- Until when nobody takes the task over, should its worker die: the waits of a row of stalled claims grow. It means
-- something under a claim alone.
ALTER TABLE tasks ADD COLUMN rest_until INTEGER NOT NULL DEFAULT 0;

-- Tasks that go on and tasks that have ended have an index each, in place of the one over both. A row lies in one of
-- them, so no write costs more. Who looks for a tenant's tasks that go on passes over nobody's ended ones, and over no
-- tenant that has only such.
CREATE INDEX tasks_to_wake ON tasks (tenant, wake_at) WHERE finished_at IS NULL;
CREATE INDEX tasks_to_erase ON tasks (wake_at) WHERE finished_at IS NOT NULL;
DROP INDEX tasks_by_wake;

-- Tasks that have one of the places of MAX_OBJECTS_AT_WORK. A row is written only where that is set, and goes when its
-- task has ended, or another route works on it.
CREATE TABLE object_places (id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
