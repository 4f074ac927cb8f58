"""The SQL by which isolates exchange the latest calls of a tenant with one model."""

from .d1 import statement
from .fragments import NOW

# Adds the latest calls that one isolate knows to the row that all isolates read. `:calls` is a JSON list of [chunk, at,
# succeeded], one for each call. `:id` names the tenant and the model of the calls. The row keeps the latest call of
# each chunk, and only the `:most` latest of these calls. A write that is sent again or arrives late therefore removes
# no newer call from the row. The calls of an erased task are not written.
_MERGED = """(
    SELECT json_group_array(json(call)) FROM (
      SELECT value AS call, row_number() OVER (PARTITION BY value ->> 0 ORDER BY value ->> 1 DESC) AS nth
      FROM (SELECT value FROM json_each(latest_calls.calls) UNION ALL SELECT value FROM json_each(excluded.calls))
      ORDER BY nth, value ->> 1 DESC LIMIT :most
    ) WHERE nth = 1
  )"""
SHARE = statement(f"""
INSERT INTO latest_calls (id, calls, failed_at)
SELECT :id, :calls, :failed_ms WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO UPDATE SET failed_at = max(failed_at, excluded.failed_at), calls = {_MERGED}
""")

# Deletes up to `:most` rows in which no call failed within the last `:kept_ms`, because their calls no longer count.
# FORGET_CALLS also reads the other rows, but each of them only a few times until it is old enough.
FORGET_CALLS = statement(f"""
DELETE FROM latest_calls
WHERE id IN (SELECT id FROM latest_calls WHERE failed_at <= {NOW} - :kept_ms LIMIT :most)
""")

# Deletes the rows of a tenant whose last task, `:task_key`, has just been erased.
_TENANT = "substr(:task_key, 1, instr(:task_key, ':') - 1)"
ERASE_CALLS = statement(f"""
DELETE FROM latest_calls WHERE id > {_TENANT} || ':' AND id < {_TENANT} || ';'
  AND NOT EXISTS (SELECT 1 FROM tasks WHERE id > {_TENANT} || ':' AND id < {_TENANT} || ';')
""")

# Reads the row with a tenant's latest calls to one model, however old the row is.
READ_SHARED = statement("SELECT json_array(failed_at, json(calls)) AS shared FROM latest_calls WHERE id = :id")


def shared(id_: str) -> str:
    """Return an expression that reads what READ_SHARED does, or NULL if no call failed in the last `:shared_ms`."""
    return f"""(
    SELECT json_array(failed_at, json(calls)) FROM latest_calls WHERE id = {id_} AND failed_at > {NOW} - :shared_ms
  )"""
