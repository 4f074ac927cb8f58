-- Webhooks: who wants to hear of a tenant's tasks, and what each of them is told.

-- An endpoint. Its signing secrets are derived from WEBHOOK_KEY, its key and a generation: none is stored.
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

-- What one endpoint is told of one end of a task. It is written in the transaction that ends the task. `generation` is
-- the task's: one that is put back and ends again is told of again.
-- `state` stands first in the key, so that what is still to be sent lies apart, and no index is written for it: 1 was
-- sent by nobody yet, 2 waits for another attempt, 0 is over. A claim raises `fence`; nobody else sends before `due_at`.
CREATE TABLE webhook_deliveries (
  state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
  task_id TEXT NOT NULL,
  generation INTEGER NOT NULL CHECK (generation >= 0),
  endpoint_id TEXT NOT NULL,                            -- the endpoint's key
  event TEXT NOT NULL,
  ended_at INTEGER NOT NULL,                            -- when the task ended
  begun_at INTEGER NOT NULL,                            -- when its day began: at the end, or at a redelivery
  fence INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),
  due_at INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  outcome TEXT CHECK (outcome IN ('delivered', 'gone', 'exhausted')),
  attempts TEXT NOT NULL DEFAULT '[]' CHECK (json_type(attempts) = 'array'), -- [at, status, ms, failure], the latest last
  PRIMARY KEY (state, task_id, generation, endpoint_id),
  CHECK ((state = 0) = (outcome IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Those that have failed before. One that succeeds at once has no entry here.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint_id, due_at) WHERE state = 2;
