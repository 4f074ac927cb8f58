"""The SQL of the endpoints of webhooks. `:endpoint` is an endpoint's key, which begins with its tenant."""

from ..d1.statement import statement
from .fragments import NOW

_ENDPOINT = f"""id, name, url, event_types, secret_generation, old_secret_until > {NOW} AS old_secret_signs, failures,
  paused_until, disabled_at, created_at, updated_at"""

# The keys from `:first` up to and without `:behind`: those of one tenant.
_OF_TENANT = "id >= :first AND id < :behind"

# Writes an endpoint unless its tenant has `:most`. If INSERT_ENDPOINT is sent twice, the second send changes nothing,
# because the caller chose the key. If the write lands after the endpoint was deleted, it finds the tombstone, `:grave`.
# `:event_types` is a JSON list.
INSERT_ENDPOINT = statement(f"""
INSERT INTO webhook_endpoints (id, name, url, event_types, created_at, updated_at)
SELECT :endpoint, :name, :url, :event_types, {NOW}, {NOW}
WHERE (SELECT count(*) FROM webhook_endpoints WHERE {_OF_TENANT}) < :most
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)
ON CONFLICT DO NOTHING
""")

ENDPOINT = statement(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE id = :endpoint")

# Reads a tenant's endpoints, oldest first. A tenant has few endpoints.
LIST_ENDPOINTS = statement(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE {_OF_TENANT} ORDER BY created_at, id")

# Begins a new secret. The previous secret also signs for `:old_ms` more. The statement names the generation that was
# read before, so that it changes nothing if it lands after another rotation.
ROTATE = statement(f"""
UPDATE webhook_endpoints SET secret_generation = secret_generation + 1, old_secret_until = {NOW} + :old_ms,
  updated_at = {NOW}
WHERE id = :endpoint AND secret_generation = :generation
""")

# Leaves a tombstone for an endpoint that is about to be deleted, because its write may still land. With `:unseen` a
# missing endpoint gets a tombstone, too: its write may have failed and still land later.
BURY_ENDPOINT = statement(f"""
INSERT INTO tombstones (id, until) SELECT :grave, {NOW} + :tombstone_ms
WHERE :unseen OR EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = :endpoint)
ON CONFLICT DO NOTHING
""")
DELETE_ENDPOINT = statement("DELETE FROM webhook_endpoints WHERE id = :endpoint RETURNING id")

# --- What attempts say about an endpoint -----------------------------------------------------------------
# If these writes land late or twice, they only make a pause too long or too short. The attempt began at `:began_at`.

# An attempt succeeded. The row of a healthy endpoint is not written. A pause that began after the attempt continues.
NOTE_SUCCESS = statement("""
UPDATE webhook_endpoints SET failures = 0,
  paused_until = CASE WHEN paused_at <= :began_at THEN 0 ELSE paused_until END
WHERE id = :endpoint AND (failures > 0 OR (paused_until > 0 AND paused_at <= :began_at))
""")

# An attempt failed. After `:breaker` failures in a row the endpoint is paused for `:pause_ms`, doubled with each
# further failure up to `:pause_most_ms`, or for `:asked_ms` if it asked for more. `paused_until` is never before the
# last counted failure. So of attempts that fail together one counts, and none that began before a pause.
NOTE_FAILURE = statement(f"""
UPDATE webhook_endpoints SET failures = failures + (paused_until <= :began_at), paused_at = {NOW},
  paused_until = max(paused_until, {NOW} + max(:asked_ms,
    CASE WHEN paused_until > :began_at OR failures + 1 < :breaker THEN 0
    ELSE min(:pause_most_ms, :pause_ms << min(failures + 1 - :breaker, 16)) END))
WHERE id = :endpoint AND (paused_until <= :began_at OR (:asked_ms > 0 AND paused_until < {NOW} + :asked_ms))
""")

# Disables an endpoint that said that it is gone.
DISABLE = statement(f"""
UPDATE webhook_endpoints SET disabled_at = {NOW} WHERE id = :endpoint AND disabled_at IS NULL
""")
