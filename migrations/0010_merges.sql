-- What lets a run read only what it works on.

-- The lengths of a segment's outputs in code points, in the order of `places`: a merge is planned from them, and no text
-- is loaded for it. Older code leaves it empty; then the body is read.
ALTER TABLE segments ADD COLUMN sizes TEXT NOT NULL DEFAULT '' CHECK (json_type('[' || sizes || ']') = 'array');

-- How a merge's level is made from the one below it, so that later code goes on with the same calls. It is written with
-- the announcement of the level's first calls and never changed.
CREATE TABLE merges (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 1),
  -- Where each call's outputs end in the level below: a JSON list, as `cuts` of the text.
  ends TEXT NOT NULL CHECK (json_type(ends) = 'array'),
  PRIMARY KEY (task_id, level)
) STRICT, WITHOUT ROWID;
