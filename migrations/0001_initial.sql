-- The whole schema. Times are milliseconds since the epoch by the database's clock, but for tasks.created_at, which is the
-- Worker's. Every table is STRICT. Most have a text key and are WITHOUT ROWID: then a row costs one row written, not two.
--
-- SQLite cannot alter a CHECK. So some allow what no code writes yet, and say so: docs/decisions/0047 lists them.

-- A task: what its client asked for, who works on it, what it has cost, and how it ended. One row a task.
CREATE TABLE tasks (
  -- The task's key: its tenant, a colon, a UUIDv7. A tenant's tasks lie together, in the order of their creation. No
  -- statement that names a task, its parts or a range of them can leave its tenant.
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL GENERATED ALWAYS AS (substr(id, 1, instr(id, ':') - 1)) VIRTUAL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
  route TEXT NOT NULL CHECK (route IN ('queue', 'durable-object', 'direct')),
  generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0), -- how often a client has put the task back

  -- What the client asks for.
  reduce TEXT NOT NULL CHECK (reduce IN ('concat', 'merge', 'none')),
  model TEXT,                                                    -- NULL: the deployment's AI_MODEL
  metadata TEXT NOT NULL CHECK (json_type(metadata) = 'object'),
  chunk_chars INTEGER CHECK (chunk_chars >= 1),                  -- the most that a chunk holds, in code points
  max_output_tokens INTEGER CHECK (max_output_tokens >= 1),      -- NULL: the deployment's AI_MAX_OUTPUT_TOKENS
  temperature REAL CHECK (temperature BETWEEN 0 AND 2),          -- NULL: the provider's
  model_options TEXT NOT NULL DEFAULT '{}' CHECK (json_type(model_options) = 'object'), -- further fields for the provider
  response TEXT CHECK (json_type(response) = 'object'),          -- what answers of /v1 echo; NULL: a task of the native API
  retention_ms INTEGER CHECK (retention_ms >= 1),                -- kept so long after its end; NULL: RETENTION_DAYS
  deadline_ms INTEGER CHECK (deadline_ms >= 1),                  -- the time until the end; a retry renews it
  deadline_at INTEGER,
  max_calls INTEGER CHECK (max_calls >= 1),                      -- the most calls of all attempts together

  -- Progress, in chunks. `total` may be NULL or 0: a text or a file of lines that is still being cut.
  total INTEGER CHECK (total >= 0),
  completed INTEGER NOT NULL DEFAULT 0 CHECK (completed BETWEEN 0 AND total),
  failed INTEGER NOT NULL DEFAULT 0 CHECK (failed BETWEEN 0 AND total), -- for good
  truncated INTEGER NOT NULL DEFAULT 0 CHECK (truncated >= 0),   -- outputs that were cut off, those of merges too
  pace_ms INTEGER CHECK (pace_ms >= 0),                          -- from one finished call to the next; NULL: not known yet
  merge_chars INTEGER NOT NULL CHECK (merge_chars >= 1),         -- the most code points that a merge call takes

  -- The claim.
  fence INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),           -- the claim's number; it only ever rises
  step INTEGER NOT NULL DEFAULT 0 CHECK (step >= 0),             -- the number of the last write under a claim; it rises
  holder TEXT,                                                   -- the claim's name; it stays when the claim ends
  host TEXT,                                                     -- the object that holds it, which replaces itself
  lease_until INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),     -- first claims and take-overs
  stalls INTEGER NOT NULL DEFAULT 0 CHECK (stalls >= 0),         -- claims in a row that ended without a finished call
  stalled_since INTEGER,                                         -- when the first of them was written; NULL: there is none
  rest_until INTEGER NOT NULL DEFAULT 0,                         -- nobody takes the task from a dead worker before
  rate_waits INTEGER NOT NULL DEFAULT 0 CHECK (rate_waits >= 0), -- waits in a row for a rate limit
  idle_runs INTEGER NOT NULL DEFAULT 0 CHECK (idle_runs >= 0),   -- runs in a row whose announced calls all started too late

  -- The bill. A call is announced, then settled or in doubt. The lists are JSON: [level, idx] of each call.
  calls_settled INTEGER NOT NULL DEFAULT 0 CHECK (calls_settled >= 0),
  calls_in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (calls_in_doubt >= 0),
  -- What the task needs if nothing fails. It may be less than `total`, where outputs come from another task.
  calls_minimum INTEGER NOT NULL CHECK (calls_minimum >= 0),
  in_flight TEXT NOT NULL DEFAULT '[]' CHECK (json_type(in_flight) = 'array'), -- announced, neither settled nor in doubt
  doubted TEXT NOT NULL DEFAULT '[]' CHECK (json_type(doubted) = 'array'),     -- in flight at the last take-over
  announced_at INTEGER,                                          -- when calls were last announced
  start_ms INTEGER NOT NULL DEFAULT 2000 CHECK (start_ms >= 2000), -- announced calls start within so many ms, or never
  input_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
  output_tokens INTEGER NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
  -- What of it was in `tallies` when a client put the task back: see store/sql/tallies.py.
  counted TEXT NOT NULL DEFAULT '[]' CHECK (json_type(counted) = 'array'),

  -- Trouble.
  away_since INTEGER,                                            -- since when the model is away for the task
  away_waits INTEGER NOT NULL DEFAULT 0 CHECK (away_waits >= 0), -- how many probes in a row have failed
  -- The last call that failed, until one succeeds: {"code", "message", "at", "chunk", "calls", "since"}. It has no client's
  -- text.
  last_error TEXT CHECK (json_type(last_error) = 'object'),
  -- What the worker waits for while no call is out, and until when. Nothing writes the last three yet.
  wait_reason TEXT CHECK (
    wait_reason IN ('model_away', 'rate_limited', 'backoff', 'database', 'quota', 'paced', 'scheduled')
  ),
  wait_until INTEGER,
  error_code TEXT,
  error_message TEXT,
  error_retryable INTEGER CHECK (error_retryable IN (0, 1)),

  -- Dispatch. The sweep must look at `wake_at`, never later than the task needs it. Of an ended task that is the end of its
  -- retention. A live lease may end later; the sweep then moves `wake_at`.
  dispatches INTEGER NOT NULL DEFAULT 0 CHECK (dispatches >= 0), -- how often it was sent off again in vain
  sent_at INTEGER,                                               -- when it last was; NULL: never
  not_before INTEGER NOT NULL DEFAULT 0,                         -- no claim before
  wake_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,

  CHECK ((status = 'processing') = (holder IS NOT NULL AND lease_until IS NOT NULL)),
  CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
  CHECK ((status = 'failed') = (error_code IS NOT NULL)),
  -- Each chunk of a completed task has an output, or has failed for good.
  CHECK (status <> 'completed' OR (total IS NOT NULL AND total >= 1 AND completed + failed >= total)),
  CHECK ((deadline_ms IS NULL) = (deadline_at IS NULL)),
  CHECK (max_calls IS NULL OR calls_settled + calls_in_doubt + json_array_length(in_flight) <= max_calls)
) STRICT, WITHOUT ROWID;

-- Tasks that go on have an index, and ended ones another. A row lies in one of them, so no write costs more. A reader of
-- the first passes over no ended task, however many are kept.
CREATE INDEX tasks_to_wake ON tasks (tenant, wake_at) WHERE finished_at IS NULL;
CREATE INDEX tasks_to_erase ON tasks (wake_at) WHERE finished_at IS NOT NULL;

-- Failed tasks by key, with their codes: a bulk retry reads no others. A task that does not fail has no entry.
CREATE INDEX tasks_failed ON tasks (id, error_code) WHERE status = 'failed';

-- What a claim works on. It lies apart, so that an update of a task never rewrites its text.
CREATE TABLE texts (
  task_id TEXT NOT NULL PRIMARY KEY,
  input TEXT NOT NULL,                                  -- '' once the task has completed, unless KEEP_INPUT is true
  instructions TEXT NOT NULL,
  cuts TEXT NOT NULL CHECK (json_type(cuts) = 'array'), -- where each chunk ends, in code points
  overlap INTEGER NOT NULL CHECK (overlap >= 0),        -- each chunk begins so many code points before the last cut
  submission TEXT                                       -- the key of the task's row in `submissions`, if it has one
) STRICT, WITHOUT ROWID;

-- Accepted outputs, many a row. Each write under a claim adds its outputs to the task's last segment of their level, and
-- begins another one when that is full. What one write adds at once is a piece. `fence`, `step` and `piece` name the last
-- piece: a write that is sent again, or lands late, finds itself there, or a later one, and adds nothing.
-- Outputs that were copied from another task have fence 0 and step 0, so that the first write is later.
CREATE TABLE segments (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 0), -- 0: outputs of chunks; each level above merges the one below it
  part INTEGER NOT NULL CHECK (part >= 0),   -- which segment of the level: 0 is the first
  fence INTEGER NOT NULL CHECK (fence >= 0),
  step INTEGER NOT NULL CHECK (step >= 0),
  piece INTEGER NOT NULL CHECK (piece >= 0), -- which piece of its write: 0 is the first
  -- The outputs' places in the level, and their lengths in code points in the same order, separated by commas. Both stand
  -- before the body: who reads them loads no body, most of which lies on pages of its own.
  places TEXT NOT NULL CHECK (json_type('[' || places || ']') = 'array'),
  sizes TEXT NOT NULL CHECK (json_type('[' || sizes || ']') = 'array'),
  body BLOB NOT NULL,                        -- the pieces, one behind the other, each compressed: see store/segments.py
  PRIMARY KEY (task_id, level, part)
) STRICT, WITHOUT ROWID;

-- How a merge's level is made from the one below it, so that later code makes the same calls. It is written with the
-- announcement of the level's first calls, and never changed.
CREATE TABLE merges (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 1),
  ends TEXT NOT NULL CHECK (json_type(ends) = 'array'), -- where each call's outputs end in the level below
  PRIMARY KEY (task_id, level)
) STRICT, WITHOUT ROWID;

-- Calls that failed and have no output yet. A call that never fails has no row here.
CREATE TABLE failures (
  task_id TEXT NOT NULL,
  level INTEGER NOT NULL CHECK (level >= 0),
  idx INTEGER NOT NULL CHECK (idx >= 0),           -- the call's place in the level
  attempts INTEGER NOT NULL CHECK (attempts >= 0), -- those that count against MAX_ATTEMPTS
  -- Failures of the service that count against the chunk, since the model answered the tenant's other chunks: see
  -- docs/decisions/0042.
  counted INTEGER NOT NULL DEFAULT 0 CHECK (counted >= 0),
  calls INTEGER NOT NULL CHECK (calls >= 0),       -- all calls made, rate-limited ones too; 0: it was never called
  final INTEGER NOT NULL CHECK (final IN (0, 1)),  -- 1: no other call is made
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  retryable INTEGER NOT NULL CHECK (retryable IN (0, 1)),
  rests_until INTEGER,                             -- no other call before then, whoever works on the task
  -- [started, failed] of the latest call, while it is not known whether that failure counts.
  held TEXT CHECK (json_type(held) = 'array'),
  PRIMARY KEY (task_id, level, idx)
) STRICT, WITHOUT ROWID;

-- How a tenant's latest calls with one model ended, while some fail: isolates tell each other by it. Nothing is written
-- while all calls succeed.
CREATE TABLE latest_calls (
  id TEXT NOT NULL PRIMARY KEY, -- the tenant, a colon, the model
  -- [chunk, at, succeeded] of the last chunks that were called, the latest first. `chunk` is a checksum.
  calls TEXT NOT NULL CHECK (json_type(calls) = 'array'),
  failed_at INTEGER NOT NULL    -- when a call last failed
) STRICT, WITHOUT ROWID;

-- Submissions with an Idempotency-Key. A row goes with its task.
CREATE TABLE submissions (
  id TEXT NOT NULL PRIMARY KEY,                                           -- tenant, colon, the client's key
  task_id TEXT NOT NULL,
  digest TEXT NOT NULL,                                                   -- of what was asked for
  expires_at INTEGER NOT NULL,                                            -- the key is valid until then
  replayed INTEGER NOT NULL DEFAULT 0 CHECK (replayed IN (0, 1))          -- 1: a second request got the task as its answer
) STRICT, WITHOUT ROWID;

-- Characters accepted from a tenant on its latest day. It is written only where a limit is set.
CREATE TABLE daily_use (
  tenant TEXT NOT NULL PRIMARY KEY,
  day INTEGER NOT NULL, -- days since the epoch, UTC
  characters INTEGER NOT NULL CHECK (characters >= 0)
) STRICT, WITHOUT ROWID;

-- How much each tenant stores, about, as last counted. It is counted only while the database is nearly as large as
-- STORAGE_MB_MOST, and decides whose ended tasks are erased early.
CREATE TABLE tenant_storage (
  tenant TEXT NOT NULL PRIMARY KEY,
  bytes INTEGER NOT NULL,
  counted_at INTEGER NOT NULL,
  -- Where the early erasure goes on with the tenant's tasks, until the next count: the first 13 characters, which are the
  -- time, of the last id that it passed over; '' at the beginning. It passes over a page of tasks none of which may go.
  walked_to TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Tasks that have one of the places of MAX_OBJECTS_AT_WORK. A row is written only where that is set. It goes when its task
-- ends, or another route works on it.
CREATE TABLE object_places (id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Task keys, and ids of API keys behind 'key/', that were erased or revoked a short time ago: nothing is written under them
-- any more. A tombstone holds no client's text. The sweep removes it after `until`.
CREATE TABLE tombstones (
  id TEXT NOT NULL PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- API keys. A digest proves a key; the keys themselves are not stored. A key is revoked by deleting its row.
CREATE TABLE api_keys (
  id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 16 AND id NOT GLOB '*[^0-9a-f]*'),
  tenant TEXT NOT NULL CHECK (length(tenant) BETWEEN 1 AND 63 AND tenant NOT GLOB '*[^a-z0-9-]*' AND tenant NOT GLOB '-*'),
  digest TEXT NOT NULL CHECK (length(digest) = 64 AND digest NOT GLOB '*[^0-9a-f]*'), -- SHA-256 of the secret
  -- Names of scopes; code passes over those that it does not know.
  scopes TEXT NOT NULL CHECK (json_type(scopes) = 'array' AND json_array_length(scopes) >= 1),
  label TEXT CHECK (length(label) BETWEEN 1 AND 100),
  created_at INTEGER NOT NULL,
  expires_at INTEGER CHECK (expires_at > created_at) -- NULL: never
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant);

-- When each kind of trigger was last seen: 'sweep', 'queue', 'alarm'; and when a request last began a sweep: 'asked'. It
-- tells a deployment without triggers from one that has nothing to do.
CREATE TABLE seen (
  what TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Webhook endpoints of tenants. Signing secrets are derived from WEBHOOK_KEY, the endpoint's key and its generation: none is
-- stored.
CREATE TABLE webhook_endpoints (
  id TEXT NOT NULL PRIMARY KEY,                         -- its key: tenant, colon, endpoint id
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  event_types TEXT NOT NULL CHECK (json_type(event_types) = 'array'),
  secret_generation INTEGER NOT NULL DEFAULT 0 CHECK (secret_generation >= 0),
  old_secret_until INTEGER NOT NULL DEFAULT 0,          -- until when the secret before this one signs, too
  failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0), -- attempts in a row, each begun after the one before
  paused_until INTEGER NOT NULL DEFAULT 0,              -- nothing is sent before, after many failures in a row
  paused_at INTEGER NOT NULL DEFAULT 0,                 -- when that was last said
  disabled_at INTEGER,                                  -- it has answered 410
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What one endpoint is to hear of one end of a task. It is written in the transaction that ends the task.
CREATE TABLE webhook_deliveries (
  -- 1: nobody has sent it yet, 2: it waits for another attempt, 0: it is over. It stands first in the key, so that what is
  -- still to be sent lies apart, without an index.
  state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
  task_id TEXT NOT NULL,
  generation INTEGER NOT NULL CHECK (generation >= 0),  -- the task's: one that is put back ends again, and is told again
  endpoint_id TEXT NOT NULL,                            -- the endpoint's key
  event TEXT NOT NULL,
  ended_at INTEGER NOT NULL,                            -- when the task ended
  begun_at INTEGER NOT NULL,                            -- when its day began: at the end, or at a redelivery
  fence INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),  -- each claim raises it
  due_at INTEGER NOT NULL,                              -- no other sender takes it before
  tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  outcome TEXT CHECK (outcome IN ('delivered', 'gone', 'exhausted')),
  attempts TEXT NOT NULL DEFAULT '[]' CHECK (json_type(attempts) = 'array'), -- [at, status, ms, failure], the latest last
  PRIMARY KEY (state, task_id, generation, endpoint_id),
  CHECK ((state = 0) = (outcome IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Deliveries that have failed before. One that succeeds at once has no entry.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint_id, due_at) WHERE state = 2;

-- Sums over tasks that have ended, by status and route. The sums with `at` 0 go back to the beginning, and only rise. The
-- others are of five minutes each, from `at` on. The sweep adds what has ended, and removes the latter after two days. What
-- a retry adds to a bill counts when the task ends again.
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
  -- From the creation to the start, and to the end, of tasks that no client had put back: how many, their sum, and how many
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
