"""The SQL of webhook endpoints. `:endpoint` is a webhook endpoint's key, which begins with its tenant."""

from ..d1.statement import statement
from .fragments import NOW

_ENDPOINT = f"""id, name, url, event_types, secret_generation, old_secret_until > {NOW} AS old_secret_signs, failures,
  paused_until, disabled_at, created_at, updated_at"""

# A condition: the webhook endpoint's key is from `:first` on and below `:behind`, as are all keys of one tenant's
# endpoints.
_OF_TENANT = "id >= :first AND id < :behind"

# Writes a webhook endpoint unless its tenant already has `:most` endpoints. If INSERT_ENDPOINT is sent twice, the
# second send changes nothing, because the caller chose the key of the webhook endpoint. If the write of a webhook
# endpoint arrives after the endpoint was deleted, the tombstone `:grave` stops it. `:event_types` is a JSON list.
INSERT_ENDPOINT = statement(f"""
INSERT INTO webhook_endpoints (id, name, url, event_types, created_at, updated_at)
SELECT :endpoint, :name, :url, :event_types, {NOW}, {NOW}
WHERE (SELECT count(*) FROM webhook_endpoints WHERE {_OF_TENANT}) < :most
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)
ON CONFLICT DO NOTHING
""")

ENDPOINT = statement(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE id = :endpoint")

# Reads a tenant's webhook endpoints, oldest first. A tenant has few endpoints.
LIST_ENDPOINTS = statement(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE {_OF_TENANT} ORDER BY created_at, id")

# Gives a webhook endpoint a new secret. The webhook endpoint's previous secret also signs for another `:old_ms`. ROTATE
# names the generation that the secret had when it was read, so that ROTATE changes nothing if it arrives after another
# rotation.
ROTATE = statement(f"""
UPDATE webhook_endpoints SET secret_generation = secret_generation + 1, old_secret_until = {NOW} + :old_ms,
  updated_at = {NOW}
WHERE id = :endpoint AND secret_generation = :generation
""")

# Leaves a tombstone of a webhook endpoint that is about to be deleted, because the endpoint's own write may still
# arrive. With `:unseen`, a webhook endpoint that does not exist also gets a tombstone, because the write that creates
# the endpoint may have failed and may still arrive later.
BURY_ENDPOINT = statement(f"""
INSERT INTO tombstones (id, until) SELECT :grave, {NOW} + :tombstone_ms
WHERE :unseen OR EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = :endpoint)
ON CONFLICT DO NOTHING
""")
DELETE_ENDPOINT = statement("DELETE FROM webhook_endpoints WHERE id = :endpoint RETURNING id")

# --- What attempts say about an endpoint -----------------------------------------------------------------
# If NOTE_SUCCESS or NOTE_FAILURE takes effect late or twice, the only consequence is that a pause of the endpoint
# becomes too long or too short. `:began_at` is when the attempt to send a webhook delivery began.

# Records that an attempt to send a webhook delivery succeeded. For a webhook endpoint without failures, nothing is
# written. A pause of the webhook endpoint that began after the attempt began is not ended.
NOTE_SUCCESS = statement("""
UPDATE webhook_endpoints SET failures = 0,
  paused_until = CASE WHEN paused_at <= :began_at THEN 0 ELSE paused_until END
WHERE id = :endpoint AND (failures > 0 OR (paused_until > 0 AND paused_at <= :began_at))
""")

# How many failures in a row an endpoint has with this one.
_FAILURES = "iif(paused_at <= :began_at, max(failures + 1, min(:breaker, failures + :weight)), failures)"

# Records that an attempt to send a webhook delivery failed, which counts as `:weight` failures until the endpoint has
# `:breaker` of them, and then as one. After `:breaker` failures in a row the webhook endpoint is paused for
# `:pause_ms`, doubled with each further failure up to `:pause_most_ms`, or for `:asked_ms` if the endpoint asked for
# more. `paused_at` is the time of the last counted failure. Therefore, of several attempts that fail at the same time
# only one counts, and an attempt that began before a pause does not count.
NOTE_FAILURE = statement(f"""
UPDATE webhook_endpoints SET failures = {_FAILURES}, paused_at = {NOW},
  paused_until = max(paused_until, {NOW} + max(:asked_ms,
    CASE WHEN paused_at > :began_at OR {_FAILURES} < :breaker THEN 0
    ELSE min(:pause_most_ms, :pause_ms << min({_FAILURES} - :breaker, 16)) END))
WHERE id = :endpoint AND (paused_at <= :began_at OR (:asked_ms > 0 AND paused_until < {NOW} + :asked_ms))
""")

# Pauses a webhook endpoint with `:breaker` failures in a row for `:held_ms`, while one delivery is tried. If the try's
# sender dies, the pause ends by itself.
PAUSE_FOR_TRIAL = statement(f"""
UPDATE webhook_endpoints SET paused_until = {NOW} + :held_ms
WHERE id = :endpoint AND failures >= :breaker AND paused_until <= {NOW}
""")

# Disables a webhook endpoint for good, because it answered 410.
DISABLE = statement(f"""
UPDATE webhook_endpoints SET disabled_at = {NOW} WHERE id = :endpoint AND disabled_at IS NULL
""")
