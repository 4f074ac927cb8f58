-- Outputs, many a row: a task with 20 chunks had 20 rows in `outputs`, each Chinese one with a page of its own. Rows of
-- `outputs` are still read, and written by code from before this table.

-- Each write under a claim adds its outputs to the task's last segment of their level, and begins another one when that
-- is full. What one write has added at once is a piece. `fence`, `step` and `piece` name the last one: a write that is
-- sent again, or that lands late, finds itself there, or a later one, and adds nothing.
CREATE TABLE segments (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 0), -- as in `outputs`
  part INTEGER NOT NULL CHECK (part >= 0),   -- which segment of the level: 0 is the first
  fence INTEGER NOT NULL CHECK (fence >= 1),
  step INTEGER NOT NULL CHECK (step >= 1),
  piece INTEGER NOT NULL CHECK (piece >= 0), -- which piece of its write: 0 is the first
  -- Whose outputs are in here: `idx`, separated by commas. It stands before the body, so that who asks for it loads no
  -- body, most of which lies on pages of its own.
  places TEXT NOT NULL CHECK (json_type('[' || places || ']') = 'array'),
  body BLOB NOT NULL,                        -- the pieces, one behind the other, each compressed: see store/segments.py
  PRIMARY KEY (task_id, level, part)
) STRICT, WITHOUT ROWID;
