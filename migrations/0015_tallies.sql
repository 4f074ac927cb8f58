-- What has happened so far, added up, so that nobody who asks for it walks over tasks.

-- Sums over tasks that have ended, by status and route: those with `at` 0 since the beginning, and they only rise; the
-- others of five minutes each, which begin at `at`, in ms since the epoch. The sweep adds what has ended, and removes the
-- latter after two days. What a retry adds to a bill counts when the task ends again.
CREATE TABLE tallies (
  at INTEGER NOT NULL,
  status TEXT NOT NULL,
  route TEXT NOT NULL,
  ended INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL DEFAULT 0,        -- those of them that a client had put back
  dead_letters INTEGER NOT NULL DEFAULT 0,
  calls INTEGER NOT NULL DEFAULT 0,
  in_doubt INTEGER NOT NULL DEFAULT 0,
  fruitless INTEGER NOT NULL DEFAULT 0,      -- calls that gave no output
  truncated INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  -- From the creation to the start, and to the end, of tasks that nobody had put back: how many, their sum, and how many
  -- took no longer than so many ms.
  waited INTEGER NOT NULL DEFAULT 0,
  waited_ms INTEGER NOT NULL DEFAULT 0,
  waited_le_500 INTEGER NOT NULL DEFAULT 0,
  waited_le_2000 INTEGER NOT NULL DEFAULT 0,
  waited_le_10000 INTEGER NOT NULL DEFAULT 0,
  waited_le_30000 INTEGER NOT NULL DEFAULT 0,
  waited_le_60000 INTEGER NOT NULL DEFAULT 0,
  waited_le_300000 INTEGER NOT NULL DEFAULT 0,
  waited_le_1800000 INTEGER NOT NULL DEFAULT 0,
  waited_le_7200000 INTEGER NOT NULL DEFAULT 0,
  took INTEGER NOT NULL DEFAULT 0,
  took_ms INTEGER NOT NULL DEFAULT 0,
  took_le_500 INTEGER NOT NULL DEFAULT 0,
  took_le_2000 INTEGER NOT NULL DEFAULT 0,
  took_le_10000 INTEGER NOT NULL DEFAULT 0,
  took_le_30000 INTEGER NOT NULL DEFAULT 0,
  took_le_60000 INTEGER NOT NULL DEFAULT 0,
  took_le_300000 INTEGER NOT NULL DEFAULT 0,
  took_le_1800000 INTEGER NOT NULL DEFAULT 0,
  took_le_7200000 INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (at, status, route)
) STRICT, WITHOUT ROWID;

-- How far ended tasks are in `tallies`: of those that are kept for `kept_ms`, all that ended at `until` or earlier. No
-- task ends at or before the highest of them.
CREATE TABLE folds (
  kept_ms INTEGER NOT NULL PRIMARY KEY CHECK (kept_ms >= 0),
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What there was to do, once in five minutes.
CREATE TABLE samples (
  at INTEGER NOT NULL PRIMARY KEY,
  pending INTEGER NOT NULL,
  processing INTEGER NOT NULL,
  oldest_ms INTEGER                          -- the age of the oldest pending task
) STRICT, WITHOUT ROWID;

-- What of the task's bill is in `tallies` since its client put it back: a JSON list, in the order of store/sql/tallies.py.
ALTER TABLE tasks ADD COLUMN counted TEXT NOT NULL DEFAULT '[]' CHECK (json_type(counted) = 'array');
