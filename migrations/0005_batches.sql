-- Batches (docs/decisions/0051). A batch is a task whose chunks are the lines of a file. Times are milliseconds since the epoch
-- by the database's clock.

-- What a task's chunks are. NULL: parts of a text in `texts`. 'batch': lines of a file. 'file': parts of a text in a file, for
-- `inputFile`. While a file has not been read whole, `total` is 0.
ALTER TABLE tasks ADD COLUMN kind TEXT CHECK (kind IN ('batch', 'file'));

-- The fence of the last claim by code that knows kinds. Code of a release before cannot claim such a task, as with
-- `structured_fence`.
ALTER TABLE tasks ADD COLUMN kind_fence INTEGER CHECK (
  kind IS NULL OR kind_fence IS fence OR (status <> 'processing' AND error_code IS NOT 'dead_lettered')
);

-- Lines of a batch that have become an object of its output file. The segment's outputs have left the row: `body` is empty, and
-- `places` and `sizes` stay. `object` is how many parts of the file there were before it. NULL: the outputs are in `body`.
ALTER TABLE segments ADD COLUMN object INTEGER CHECK (object >= 0);

-- An answer of the provider with which it refused a line for good: {"status", "body"}. NULL: there was none.
ALTER TABLE failures ADD COLUMN refusal TEXT CHECK (json_type(refusal) = 'object');

-- The rows of a batch go with its task, whoever erases it: also code of the release before, which knows no batches.
CREATE TABLE batches (
  task_id TEXT NOT NULL PRIMARY KEY REFERENCES tasks (id) ON DELETE CASCADE,
  endpoint TEXT NOT NULL CHECK (endpoint IN ('/v1/chat/completions', '/v1/responses')),
  window_ms INTEGER NOT NULL CHECK (window_ms >= 1),        -- the completion window
  input_file TEXT NOT NULL,                                -- the file's key
  output_file TEXT NOT NULL,                               -- keys of the files that it writes: the row of the first comes when
  error_file TEXT NOT NULL,                                -- the lines were found valid, of the other with its first part
  output_ms INTEGER CHECK (output_ms >= 1),                -- output_expires_after; NULL: as long as the task
  model TEXT,                                              -- the model of all lines; NULL until the first one is read

  -- Validation: how far the input is read.
  read_bytes INTEGER NOT NULL DEFAULT 0 CHECK (read_bytes >= 0),
  read_lines INTEGER NOT NULL DEFAULT 0 CHECK (read_lines >= 0),   -- blank lines included
  errors TEXT NOT NULL DEFAULT '[]' CHECK (json_type(errors) = 'array'), -- {"code", "line", "message", "param"}, at most 100
  valid_at INTEGER,                                        -- when every line was found valid; NULL before

  -- The end, after the task's: the files are written by one writer at a time.
  writer_fence INTEGER NOT NULL DEFAULT 0 CHECK (writer_fence >= 0),
  writer_until INTEGER NOT NULL DEFAULT 0,
  finalizing_at INTEGER,                                   -- when the first writer began
  written_places INTEGER NOT NULL DEFAULT 0 CHECK (written_places >= 0), -- how far the error file is written, in places
  output_lines INTEGER NOT NULL DEFAULT 0 CHECK (output_lines >= 0),
  error_lines INTEGER NOT NULL DEFAULT 0 CHECK (error_lines >= 0),
  ended_at INTEGER                                         -- when both files were complete, or the validation had failed
) STRICT, WITHOUT ROWID;

-- A file that a batch still reads is not deleted.
CREATE INDEX batches_by_input ON batches (input_file) WHERE ended_at IS NULL;
-- Batches whose task has ended, and whose files are not complete, are due.
CREATE INDEX batches_to_write ON batches (writer_until) WHERE ended_at IS NULL;

-- The lines of a batch: where they lie in the input, and which ids they have. A row for each slice that was read at once.
CREATE TABLE batch_slices (
  task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  first INTEGER NOT NULL CHECK (first >= 0),               -- the place of its first line among the batch's lines
  lines INTEGER NOT NULL CHECK (lines >= 1),
  start INTEGER NOT NULL CHECK (start >= 0),               -- the byte at which its first line begins
  spans BLOB NOT NULL,                                     -- [gap before, bytes] of each line: see core/batches/line_index.py
  ids BLOB NOT NULL,                                       -- a digest of 8 bytes of each custom_id
  PRIMARY KEY (task_id, first)
) STRICT, WITHOUT ROWID;

-- The failed batches whose input was not valid: see 0003.
ALTER TABLE tallies ADD COLUMN failed_invalid_batch INTEGER NOT NULL DEFAULT 0;
