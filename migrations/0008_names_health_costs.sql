-- Additions of December 2026. Times are milliseconds since the epoch by the database's clock.

-- How many of an endpoint's last attempts in a row have failed, and why the very last one did. NULL: it succeeded, or there
-- was none. `failures` decides about pauses: it weighs timeouts, and counts attempts that fail at the same time as one.
ALTER TABLE webhook_endpoints ADD COLUMN failed_attempts INTEGER NOT NULL DEFAULT 0 CHECK (failed_attempts >= 0);
ALTER TABLE webhook_endpoints ADD COLUMN last_failure TEXT;

-- What a client may give a task without an effect: a JSON object of texts. NULL: nothing, or code of the
-- release before wrote the task.
ALTER TABLE tasks ADD COLUMN extras TEXT CHECK (json_type(extras) = 'object');
