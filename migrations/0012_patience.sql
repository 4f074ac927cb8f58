-- How a task bears a model that is away, and what it says meanwhile. Written with the writes of a worker that happen anyway.

-- Since when the model has been away for the task, in ms since the epoch, and how many probes in a row have failed.
ALTER TABLE tasks ADD COLUMN away_since INTEGER;
ALTER TABLE tasks ADD COLUMN away_waits INTEGER NOT NULL DEFAULT 0 CHECK (away_waits >= 0);

-- The last call that failed, until one succeeds: {"code", "message", "at", "chunk", "calls", "since"}. It has no client's
-- text.
ALTER TABLE tasks ADD COLUMN last_error TEXT CHECK (json_type(last_error) = 'object');

-- What the worker waits for while no call is out, and until when, in ms since the epoch.
ALTER TABLE tasks ADD COLUMN wait_reason TEXT CHECK (wait_reason IN ('model_away', 'rate_limited', 'backoff', 'database'));
ALTER TABLE tasks ADD COLUMN wait_until INTEGER;

-- How many milliseconds pass from one finished call to the next; NULL until one has finished.
ALTER TABLE tasks ADD COLUMN pace_ms INTEGER CHECK (pace_ms >= 0);
