-- Files (docs/decisions/0051). Times are milliseconds since the epoch by the database's clock.

-- A file: its description. Its bytes lie in parts, in R2 or in `file_parts`. A row goes last, after all of its bytes.
CREATE TABLE files (
  -- The file's key: its tenant, a colon, a UUIDv7. Clients know the file by the id `file-` and the UUID without hyphens.
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL GENERATED ALWAYS AS (substr(id, 1, instr(id, ':') - 1)) VIRTUAL,
  -- writing: its upload is not over, and no client sees it. growing: a batch adds parts to it. ready: it is complete.
  -- erasing: no client sees it, and the sweep erases its bytes, then the row.
  state TEXT NOT NULL CHECK (state IN ('writing', 'growing', 'ready', 'erasing')),
  purpose TEXT NOT NULL CHECK (purpose IN ('batch', 'user_data', 'batch_output')),
  filename TEXT NOT NULL,
  place TEXT NOT NULL CHECK (place IN ('r2', 'd1')),     -- where the parts lie
  bytes INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0),
  -- [name, bytes] of each part, in the file's order. In R2 a part is the object `{tenant}/{file id}/{name}`.
  parts TEXT NOT NULL DEFAULT '[]' CHECK (json_type(parts) = 'array'),
  owner TEXT,                                            -- the key of the task that the file is an output of; NULL: a client's
  created_at INTEGER NOT NULL,
  expires_at INTEGER,                                    -- NULL: it is kept until it is deleted, or as long as its owner
  -- When the sweep must look at the file: a forgotten upload, an expired file, one to erase. NULL: never.
  due_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX files_due ON files (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX files_by_owner ON files (owner) WHERE owner IS NOT NULL;

-- The bytes of files in a deployment without R2: parts of at most 512 KiB.
CREATE TABLE file_parts (
  file_id TEXT NOT NULL,
  name TEXT NOT NULL,
  body BLOB NOT NULL,
  stored_at INTEGER NOT NULL,                            -- when it was last stored
  PRIMARY KEY (file_id, name)
) STRICT, WITHOUT ROWID;

-- How many bytes the files of a tenant have together, those of ready and growing ones. It is written in the transactions
-- that change them.
CREATE TABLE file_use (
  tenant TEXT NOT NULL PRIMARY KEY,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Where the search for orphans, parts that no row names, goes on. A row for each place, named as the place.
CREATE TABLE file_walks (
  what TEXT NOT NULL PRIMARY KEY,
  after TEXT NOT NULL,                                   -- the last part that it has passed; '': the beginning
  at INTEGER NOT NULL                                    -- when it last looked
) STRICT, WITHOUT ROWID;
