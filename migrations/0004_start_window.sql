-- What keeps a slow database from being asked again and again for nothing.

-- For how long after `announced_at` announced calls may start, in milliseconds: longer the slower the database answers.
-- A worker of older code, which does not write it, starts its calls within 2 s.
ALTER TABLE tasks ADD COLUMN start_ms INTEGER NOT NULL DEFAULT 2000 CHECK (start_ms >= 2000);

-- How many runs in a row gave the task back because none of the calls that they announced started in time.
ALTER TABLE tasks ADD COLUMN idle_runs INTEGER NOT NULL DEFAULT 0 CHECK (idle_runs >= 0);
