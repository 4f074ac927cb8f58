-- What tells a worker that died from a task that kills its workers.

-- When the first claim of the current row of stalled claims was written: claims in a row without a finished call. NULL
-- as soon as a call of the claim has finished.
ALTER TABLE tasks ADD COLUMN stalled_since INTEGER;

-- Until when nobody takes the task over, should its worker die: the waits of a row of stalled claims grow. It means
-- something under a claim alone.
ALTER TABLE tasks ADD COLUMN rest_until INTEGER NOT NULL DEFAULT 0;
