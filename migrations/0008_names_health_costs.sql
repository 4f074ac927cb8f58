-- Additions of December 2026. Times are milliseconds since the epoch by the database's clock.

-- How many of an endpoint's last attempts in a row have failed, and why the very last one did. NULL: it succeeded, or there
-- was none. `failures` decides about pauses: it weighs timeouts, and counts attempts that fail at the same time as one.
ALTER TABLE webhook_endpoints ADD COLUMN failed_attempts INTEGER NOT NULL DEFAULT 0 CHECK (failed_attempts >= 0);
ALTER TABLE webhook_endpoints ADD COLUMN last_failure TEXT;

-- What a client may give a task without an effect: a JSON object of texts. NULL: nothing, or code of the
-- release before wrote the task.
ALTER TABLE tasks ADD COLUMN extras TEXT CHECK (json_type(extras) = 'object');

-- Costs. Amounts of money are integers of a billionth of a dollar, of all claims together: see docs/decisions/calls.md#d0056.

-- What settled calls cost. NULL: no call had a price.
ALTER TABLE tasks ADD COLUMN cost INTEGER CHECK (cost >= 0);
-- The most of the calls in doubt, and of the announced calls without an outcome.
ALTER TABLE tasks ADD COLUMN cost_in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (cost_in_doubt >= 0);
ALTER TABLE tasks ADD COLUMN cost_out INTEGER NOT NULL DEFAULT 0 CHECK (cost_out >= 0);
-- Input tokens that the provider had in its cache. They are a part of `input_tokens`.
ALTER TABLE tasks ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0 CHECK (cached_tokens >= 0);
ALTER TABLE tallies ADD COLUMN cached_input INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN cost_booked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN cost_doubted INTEGER NOT NULL DEFAULT 0;

-- No call starts before, whatever asks for the task. NULL: it may start at once. `not_before` is never earlier.
ALTER TABLE tasks ADD COLUMN starts_at INTEGER;
-- Tasks that have not ended and were to start later, by tenant. Other tasks have no entry.
CREATE INDEX tasks_scheduled ON tasks (tenant, starts_at) WHERE starts_at IS NOT NULL AND finished_at IS NULL;

-- Caps. What the task's calls may cost together, its calls in doubt and in flight at their most. NULL: any amount.
ALTER TABLE tasks ADD COLUMN max_cost INTEGER CHECK (max_cost >= 0);
-- The fence of the last claim by code that knows caps: as with `structured_fence`, older code cannot claim such a task.
ALTER TABLE tasks ADD COLUMN cost_fence INTEGER CHECK (
  max_cost IS NULL OR cost_fence IS fence OR (status <> 'processing' AND error_code IS NOT 'dead_lettered')
);
-- What the worker waits for, where the CHECK of `wait_reason` lacks it. NULL: see `wait_reason`.
ALTER TABLE tasks ADD COLUMN waits_for TEXT;
ALTER TABLE tallies ADD COLUMN failed_cost_exhausted INTEGER NOT NULL DEFAULT 0;

-- Failed tasks whose calls the provider refused because the deployment's key, default model or address is wrong.
ALTER TABLE tallies ADD COLUMN failed_model_misconfigured INTEGER NOT NULL DEFAULT 0;

-- Until when the provider has asked the task to wait (`Retry-After`): nothing ends this pause early. NULL: it has not asked.
ALTER TABLE tasks ADD COLUMN asked_until INTEGER;
-- When an operator last ended the pauses in which the task waits for a model that is away. NULL: never.
ALTER TABLE tasks ADD COLUMN resumed_at INTEGER;
