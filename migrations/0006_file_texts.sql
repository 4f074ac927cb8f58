-- Texts in files, for `inputFile` (docs/decisions/0053). Such a task has the kind 'file'.

-- The key of the file that has the task's text. NULL: the text is in `texts`, or the task is a batch.
ALTER TABLE tasks ADD COLUMN text_file TEXT;

-- The fence of the last claim by code that can read a text from a file. Code of the release before knows kinds, but not this
-- one: it cannot claim such a task, as with `structured_fence`.
ALTER TABLE tasks ADD COLUMN text_fence INTEGER CHECK (
  text_file IS NULL OR text_fence IS fence OR (status <> 'processing' AND error_code IS NOT 'dead_lettered')
);

-- A file that an unfinished task reads is not deleted.
CREATE INDEX tasks_by_text_file ON tasks (text_file) WHERE text_file IS NOT NULL AND finished_at IS NULL;

-- Where such a text is cut. The row goes with its task, whoever erases it.
CREATE TABLE file_texts (
  task_id TEXT NOT NULL PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  cut_bytes INTEGER NOT NULL DEFAULT 0 CHECK (cut_bytes >= 0),   -- where the last chunk so far ends in the file, in bytes
  cut_chars INTEGER NOT NULL DEFAULT 0 CHECK (cut_chars >= 0),   -- and in the text, in code points
  cut_chunks INTEGER NOT NULL DEFAULT 0 CHECK (cut_chunks >= 0), -- how many chunks there are so far
  -- Where each chunk so far ends in the text, in code points, with a comma behind each. '' once the whole text is cut: then
  -- they are in `texts.cuts`.
  char_ends TEXT NOT NULL DEFAULT '',
  -- The byte at which the text begins in the file, and where each chunk so far ends, with a comma behind each.
  byte_ends TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- The failed tasks whose file is no text, and those whose file is gone: see 0003.
ALTER TABLE tallies ADD COLUMN failed_invalid_input INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN failed_input_missing INTEGER NOT NULL DEFAULT 0;
