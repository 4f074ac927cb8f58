"""The SQL of the API keys."""

from ..d1.statement import statement
from .fragments import NOW

_KEY = "id, tenant, scopes, label, created_at, expires_at"

# Finds a key that has not expired, and says whether any key exists. The statement always gives one row, so that a
# request with an unknown key costs as much as one with a known key.
FIND_KEY = statement(f"""
SELECT EXISTS (SELECT 1 FROM api_keys) AS any_key, {_KEY}, digest
FROM (SELECT 1) LEFT JOIN api_keys ON id = :key_id AND (expires_at IS NULL OR expires_at > {NOW})
""")

# Deletes the tenant's expired keys, which are useless but would count. Goes before INSERT_KEY.
DELETE_EXPIRED_KEYS = statement(f"DELETE FROM api_keys WHERE tenant = :tenant AND expires_at <= {NOW}")

# Writes a key unless the tenant has `:keys_most`. If INSERT_KEY is sent twice, the second send changes nothing, because
# the caller chose the id. If the write lands after the key was revoked, it finds the tombstone, `:grave`. If two writes
# come at once, the second counts the first's key, because D1 serialises writes. `:scopes` is a JSON list. `:valid_ms`
# is NULL for a key that never expires, `:label` for a key without a label.
INSERT_KEY = statement(f"""
INSERT INTO api_keys (id, tenant, digest, scopes, label, created_at, expires_at)
SELECT :key_id, :tenant, :digest, :scopes, :label, {NOW}, {NOW} + :valid_ms
WHERE (SELECT count(*) FROM api_keys WHERE tenant = :tenant) < :keys_most
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)
ON CONFLICT DO NOTHING
""")

# Reads the key that INSERT_KEY wrote. No row means that the tenant had too many keys. The digest excludes another key
# with this id.
INSERTED_KEY = statement(f"SELECT {_KEY} FROM api_keys WHERE id = :key_id AND digest = :digest")

# Reads the tenant's keys, oldest first. A tenant has few keys.
LIST_KEYS = statement(f"SELECT {_KEY} FROM api_keys WHERE tenant = :tenant ORDER BY created_at, id")

# Leaves a tombstone for a key that is about to be revoked, or that was made and never shown: its write may still land.
# Goes before DELETE_KEY.
BURY_KEY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :grave, {NOW} + :tombstone_ms
WHERE NOT EXISTS (SELECT 1 FROM api_keys WHERE id = :key_id AND tenant <> :tenant)
ON CONFLICT DO NOTHING
""")

# Revokes a key of this tenant. If the revocation is sent twice, the second send deletes nothing.
DELETE_KEY = statement("DELETE FROM api_keys WHERE tenant = :tenant AND id = :key_id RETURNING id")
