"""The SQL statements of the API keys, named, with their contracts; the rules are those of `statements`."""

from .statement import NOW

_KEY = "id, tenant, scopes, label, created_at, expires_at"

# Finds a key that has not expired, and says whether there is any key at all: one row always, one statement, so that
# whoever presents what is no key costs as much as whoever presents one. ?1 id
FIND_KEY = f"""
SELECT EXISTS (SELECT 1 FROM api_keys) AS any_key, {_KEY}, digest
FROM (SELECT 1) LEFT JOIN api_keys ON id = ?1 AND (expires_at IS NULL OR expires_at > {NOW})
"""

# Deletes the tenant's expired keys, which open nothing and would count. Goes before INSERT_KEY. ?1 tenant
DELETE_EXPIRED_KEYS = f"DELETE FROM api_keys WHERE tenant = ?1 AND expires_at <= {NOW}"

# Writes a key unless the tenant has as many as it may. Sent twice it changes nothing, since the id is the caller's.
# Two at once: writes are serialised, the second counts the first.
# ?1 id ?2 tenant ?3 digest ?4 scopes, a JSON list ?5 label ?6 milliseconds that it is valid, or NULL ?7 keys at most
INSERT_KEY = f"""
INSERT INTO api_keys (id, tenant, digest, scopes, label, created_at, expires_at)
SELECT ?1, ?2, ?3, ?4, ?5, {NOW}, {NOW} + ?6
WHERE (SELECT count(*) FROM api_keys WHERE tenant = ?2) < ?7
ON CONFLICT DO NOTHING
"""

# Follows INSERT_KEY: no row if there were too many. The digest tells our key from a namesake. ?1 id ?2 digest
INSERTED_KEY = f"SELECT {_KEY} FROM api_keys WHERE id = ?1 AND digest = ?2"

# The tenant's keys, oldest first; they are few. ?1 tenant
LIST_KEYS = f"SELECT {_KEY} FROM api_keys WHERE tenant = ?1 ORDER BY created_at, id"

# Revokes a key of this tenant. Sent twice it deletes nothing more. ?1 tenant ?2 id
DELETE_KEY = "DELETE FROM api_keys WHERE tenant = ?1 AND id = ?2 RETURNING id"
