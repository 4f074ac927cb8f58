"""The SQL that reads, writes and deletes API keys."""

from ..d1.statement import statement
from .fragments import NOW

_KEY = "id, tenant, scopes, label, created_at, expires_at"

# Finds an API key that has not expired, and says whether any key exists. FIND_KEY always gives one row, so that a
# request with an unknown key costs as much as one with a known key.
FIND_KEY = statement(f"""
SELECT EXISTS (SELECT 1 FROM api_keys) AS any_key, {_KEY}, digest
FROM (SELECT 1) LEFT JOIN api_keys ON id = :key_id AND (expires_at IS NULL OR expires_at > {NOW})
""")

# Deletes the tenant's expired API keys, which would still count towards its limit of keys. Goes before INSERT_KEY.
DELETE_EXPIRED_KEYS = statement(f"DELETE FROM api_keys WHERE tenant = :tenant AND expires_at <= {NOW}")

# Writes an API key unless the tenant already has `:keys_most` keys. If INSERT_KEY is sent twice, the second send
# changes nothing, because the caller chose the key's id. If the write arrives after the key was revoked, the tombstone
# `:grave` stops it. If two writes of API keys come at once, the second write counts the key of the first write, because
# D1 serialises writes. `:scopes` is a JSON list. `:valid_ms` is NULL for a key that never expires, and `:label` is NULL
# for a key without a label.
INSERT_KEY = statement(f"""
INSERT INTO api_keys (id, tenant, digest, scopes, label, created_at, expires_at)
SELECT :key_id, :tenant, :digest, :scopes, :label, {NOW}, {NOW} + :valid_ms
WHERE (SELECT count(*) FROM api_keys WHERE tenant = :tenant) < :keys_most
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)
ON CONFLICT DO NOTHING
""")

# Reads the API key that INSERT_KEY wrote. If INSERTED_KEY gives no row, the key was not written, because the tenant had
# too many keys. The comparison with `:digest` makes sure that the row does not belong to another key with the same id.
INSERTED_KEY = statement(f"SELECT {_KEY} FROM api_keys WHERE id = :key_id AND digest = :digest")

# Reads the tenant's API keys, oldest first. A tenant has few keys.
LIST_KEYS = statement(f"SELECT {_KEY} FROM api_keys WHERE tenant = :tenant ORDER BY created_at, id")

# Leaves a tombstone of an API key that is about to be revoked, or that was made but never shown to a client, because
# the key's write may still arrive. Goes before DELETE_KEY.
BURY_KEY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :grave, {NOW} + :tombstone_ms
WHERE NOT EXISTS (SELECT 1 FROM api_keys WHERE id = :key_id AND tenant <> :tenant)
ON CONFLICT DO NOTHING
""")

# Revokes an API key of the tenant. If DELETE_KEY is sent twice, the second send deletes nothing.
DELETE_KEY = statement("DELETE FROM api_keys WHERE tenant = :tenant AND id = :key_id RETURNING id")
