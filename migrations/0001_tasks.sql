-- Tasks and their parts. Times are milliseconds since the epoch, by D1's own clock except created_at.
-- Every table is STRICT and, having a text key, WITHOUT ROWID: a row then costs one row written, not two.

CREATE TABLE tasks (
  -- The task's key: its tenant, a colon, a UUIDv7. One tenant's tasks lie together, in the order of their creation,
  -- and no statement that names a task, a part of one or a range of them can leave its tenant.
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL GENERATED ALWAYS AS (substr(id, 1, instr(id, ':') - 1)) VIRTUAL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
  route TEXT NOT NULL CHECK (route IN ('queue', 'durable-object', 'direct')),
  reduce TEXT NOT NULL CHECK (reduce IN ('concat', 'merge', 'none')),
  model TEXT,
  metadata TEXT NOT NULL CHECK (json_type(metadata) = 'object'),
  total INTEGER NOT NULL CHECK (total >= 1), -- chunks
  completed INTEGER NOT NULL DEFAULT 0 CHECK (completed BETWEEN 0 AND total),
  failed INTEGER NOT NULL DEFAULT 0 CHECK (failed BETWEEN 0 AND total),
  merge_chars INTEGER NOT NULL CHECK (merge_chars >= 1),

  -- The claim. fence only ever rises; holder names one claim, host an object that replaces itself.
  fence INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),
  holder TEXT,
  host TEXT,
  lease_until INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  stalls INTEGER NOT NULL DEFAULT 0 CHECK (stalls >= 0),         -- crashed claims since the last output
  rate_waits INTEGER NOT NULL DEFAULT 0 CHECK (rate_waits >= 0), -- rate-limit waits since the last output

  -- The bill. in_flight and doubted are JSON lists of [level, idx].
  calls_settled INTEGER NOT NULL DEFAULT 0 CHECK (calls_settled >= 0),
  calls_in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (calls_in_doubt >= 0),
  calls_minimum INTEGER NOT NULL CHECK (calls_minimum >= total),
  in_flight TEXT NOT NULL DEFAULT '[]' CHECK (json_type(in_flight) = 'array'),
  doubted TEXT NOT NULL DEFAULT '[]' CHECK (json_type(doubted) = 'array'),
  input_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
  output_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
  announced_at INTEGER,                                          -- the last time that calls were announced

  -- What the client bounds: the time until the end, renewed by a retry, and the calls of all attempts together.
  deadline_ms INTEGER CHECK (deadline_ms >= 1),
  deadline_at INTEGER,
  max_calls INTEGER CHECK (max_calls >= 1),

  error_code TEXT,
  error_message TEXT,
  error_retryable INTEGER CHECK (error_retryable IN (0, 1)),

  -- Dispatch. wake_at is when the sweep must look: never later than the task needs it, for a finished
  -- task the end of its retention. A live lease may stand beyond it; the sweep then moves it.
  dispatches INTEGER NOT NULL DEFAULT 0 CHECK (dispatches >= 0),
  not_before INTEGER NOT NULL DEFAULT 0,
  wake_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  ended INTEGER NOT NULL GENERATED ALWAYS AS (finished_at IS NOT NULL) VIRTUAL,

  CHECK ((status = 'processing') = (holder IS NOT NULL AND lease_until IS NOT NULL)),
  CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
  CHECK ((status = 'failed') = (error_code IS NOT NULL)),
  CHECK (status <> 'completed' OR completed = total),
  CHECK ((deadline_ms IS NULL) = (deadline_at IS NULL)),
  CHECK (max_calls IS NULL OR calls_settled + calls_in_doubt + json_array_length(in_flight) <= max_calls)
) STRICT, WITHOUT ROWID;

-- Tasks that go on lie apart from those that have ended: however many are kept, nobody who looks for one of the
-- former passes over the latter.
CREATE INDEX tasks_by_wake ON tasks (tenant, ended, wake_at);

-- What a claim works on: kept apart, so that an update of a task never rewrites its text.
CREATE TABLE texts (
  task_id TEXT NOT NULL PRIMARY KEY,
  input TEXT NOT NULL,
  instructions TEXT NOT NULL,
  cuts TEXT NOT NULL CHECK (json_type(cuts) = 'array'), -- the chunks' end offsets, in code points
  overlap INTEGER NOT NULL CHECK (overlap >= 0),
  submission TEXT                                       -- the key of `submissions` under which it came, if any
) STRICT, WITHOUT ROWID;

-- One accepted output a call: level 0 are the chunks, each level above merges the one below it.
CREATE TABLE outputs (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 0),
  idx INTEGER NOT NULL CHECK (idx >= 0),
  output TEXT NOT NULL,
  attempts INTEGER NOT NULL CHECK (attempts >= 1),
  PRIMARY KEY (task_id, level, idx)
) STRICT, WITHOUT ROWID;

-- Calls that failed and have no output yet. A call that never fails costs no row here.
CREATE TABLE failures (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 0),
  idx INTEGER NOT NULL CHECK (idx >= 0),
  attempts INTEGER NOT NULL CHECK (attempts >= 0), -- those that count against MAX_ATTEMPTS
  calls INTEGER NOT NULL CHECK (calls >= 1),       -- all calls made, rate-limited ones included
  final INTEGER NOT NULL CHECK (final IN (0, 1)),
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  retryable INTEGER NOT NULL CHECK (retryable IN (0, 1)),
  PRIMARY KEY (task_id, level, idx)
) STRICT, WITHOUT ROWID;

-- Submissions with an Idempotency-Key: tenant, colon, the client's key. A row goes with its task. It is valid until
-- expires_at; `digest` is of what was asked for, `replayed` says that a second request has been answered with the task.
CREATE TABLE submissions (
  id TEXT NOT NULL PRIMARY KEY,
  task_id TEXT NOT NULL,
  digest TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  replayed INTEGER NOT NULL DEFAULT 0 CHECK (replayed IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Characters accepted from a tenant on its latest day (days since the epoch, UTC). Written only where a limit is set.
CREATE TABLE daily_use (
  tenant TEXT NOT NULL PRIMARY KEY,
  day INTEGER NOT NULL,
  characters INTEGER NOT NULL CHECK (characters >= 0)
) STRICT, WITHOUT ROWID;
