-- Structured output and gaps (docs/decisions/0048). A plain task has NULL or 0 in each of these columns.

-- How the outputs are formed, and whether a failed chunk leaves a gap: a JSON object. NULL: a plain task.
ALTER TABLE tasks ADD COLUMN structured TEXT CHECK (json_type(structured) = 'object');

-- The fence of the last claim by code that knows these columns. Code of the release before would ignore the schema and
-- the gaps. Its claims raise `fence` alone, so this CHECK refuses them. Their dead letters are not the task's fault.
ALTER TABLE tasks ADD COLUMN structured_fence INTEGER CHECK (
  structured IS NULL OR structured_fence IS fence OR (status <> 'processing' AND error_code IS NOT 'dead_lettered')
);

-- The bill of the ladder.
ALTER TABLE tasks ADD COLUMN reasks INTEGER NOT NULL DEFAULT 0 CHECK (reasks >= 0);     -- calls that asked again
ALTER TABLE tasks ADD COLUMN rejected INTEGER NOT NULL DEFAULT 0 CHECK (rejected >= 0); -- answers that were refused
ALTER TABLE tasks ADD COLUMN repaired INTEGER NOT NULL DEFAULT 0 CHECK (repaired >= 0); -- outputs that were repaired

ALTER TABLE tasks ADD COLUMN coverage REAL CHECK (coverage BETWEEN 0 AND 1); -- of the text; NULL: there is no gap
ALTER TABLE tasks ADD COLUMN retry_of TEXT;                                  -- the task whose gaps this one makes

ALTER TABLE texts ADD COLUMN output_schema TEXT CHECK (json_type(output_schema) = 'object'); -- as the client wrote it
ALTER TABLE texts ADD COLUMN join_rules TEXT CHECK (json_type(join_rules) = 'object');
-- What a task got from the one whose gaps it makes: how many outputs, and the `ends` of each merge level, as in `merges`.
ALTER TABLE texts ADD COLUMN inherited TEXT CHECK (json_type(inherited) = 'object'); -- {"outputs", "merges"}

-- How many answers of the call were rejected, and the last of them: {"rejected", "output", "errors", "reason"}.
ALTER TABLE failures ADD COLUMN rung TEXT CHECK (json_type(rung) = 'object');
-- The characters of the chunk, in a task that allows gaps. NULL: the failure ends the task if it is for good.
ALTER TABLE failures ADD COLUMN gap_chars INTEGER CHECK (gap_chars >= 0);

-- The same over ended tasks, and the gaps of those that have completed.
ALTER TABLE tallies ADD COLUMN asked_again INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN rejections INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN repairs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN gap_chunks INTEGER NOT NULL DEFAULT 0;

-- The failed tasks by `error_code`, one column a code. A release that does not know these columns adds to `ended` alone.
ALTER TABLE tallies ADD COLUMN failed_model_unavailable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_model_timeout INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_model_connection_lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_model_reply_malformed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_model_rate_limited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_model_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_model_quota_exhausted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_structured_output_unsupported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_worker_crashed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_dead_lettered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_deadline_exceeded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_budget_exhausted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_invalid_output INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_output_truncated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_too_many_gaps INTEGER NOT NULL DEFAULT 0;
