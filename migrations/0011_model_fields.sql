-- What a client asks for a task, and of the model for each of its calls, how many outputs were cut off, and which tasks
-- have failed.

-- The most that a chunk holds, in code points. NULL: a task from before.
ALTER TABLE tasks ADD COLUMN chunk_chars INTEGER CHECK (chunk_chars >= 1);

-- The most that the model may write, in tokens. NULL: the deployment's AI_MAX_OUTPUT_TOKENS.
ALTER TABLE tasks ADD COLUMN max_output_tokens INTEGER CHECK (max_output_tokens >= 1);

-- NULL: the provider's.
ALTER TABLE tasks ADD COLUMN temperature REAL CHECK (temperature BETWEEN 0 AND 2);

-- Further fields of what is sent to the provider.
ALTER TABLE tasks ADD COLUMN model_options TEXT NOT NULL DEFAULT '{}' CHECK (json_type(model_options) = 'object');

-- Outputs, those of merges too, that the model or its provider cut off: one of the totals that a worker writes.
ALTER TABLE tasks ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0 CHECK (truncated >= 0);

-- Failed tasks, by key, with why: a bulk retry passes over no others. A task that does not fail has no entry, and costs
-- nothing here.
CREATE INDEX tasks_failed ON tasks (id, error_code) WHERE status = 'failed';
