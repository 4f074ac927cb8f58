-- API keys: what proves them is a digest, the keys themselves stand nowhere. To revoke a key is to delete its row.
-- Times are milliseconds since the epoch, by D1's own clock.

CREATE TABLE api_keys (
  id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 16 AND id NOT GLOB '*[^0-9a-f]*'),
  tenant TEXT NOT NULL CHECK (length(tenant) BETWEEN 1 AND 63 AND tenant NOT GLOB '*[^a-z0-9-]*' AND tenant NOT GLOB '-*'),
  digest TEXT NOT NULL CHECK (length(digest) = 64 AND digest NOT GLOB '*[^0-9a-f]*'), -- SHA-256 of the secret
  scopes TEXT NOT NULL CHECK (json_type(scopes) = 'array' AND json_array_length(scopes) BETWEEN 1 AND 3),
  label TEXT CHECK (length(label) BETWEEN 1 AND 100),
  created_at INTEGER NOT NULL,
  expires_at INTEGER CHECK (expires_at > created_at) -- NULL: never
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant);
