"""The SQL that makes room: who stores most, and which of their ended tasks go before their retention is over."""

from .fragments import LISTED, NOW, delete_parts
from .statement import statement
from .tallies import UNCOUNTED, count_ends

# What a task takes, about: its rows, four bytes a token of its outputs, and its input until that is emptied, for good
# with `:keep_input`. That has four bytes a token of the calls that came back, or as many as its chunks may have
# characters, so that it counts before its first call. Nothing but the task's own row is read.
_BYTES = """2000 + 4 * output_tokens + CASE WHEN status = 'completed' AND NOT :keep_input THEN 0
  ELSE max(4 * input_tokens, total * coalesce(chunk_chars, 6000)) END"""

# Counts anew what each tenant stores, and keeps the `:tenants_most` that store most. It reads each task's row once,
# however many there are.
FORGET_COUNT = statement("DELETE FROM tenant_storage")
COUNT = statement(f"""
INSERT INTO tenant_storage (tenant, bytes, counted_at)
SELECT tenant, sum({_BYTES}), {NOW} FROM tasks GROUP BY tenant ORDER BY 2 DESC, tenant LIMIT :tenants_most
ON CONFLICT DO UPDATE SET bytes = excluded.bytes, counted_at = excluded.counted_at
""")

# Who stores most. Walks over that tenant's tasks, in the order in which they came, from where the walk before got to:
# `:walk_most` of them. Finds those that ended `:kept_ms` ago or earlier: up to `:most`, of `:chunks_most` chunks
# together, or one that has more. Whether a fold has come to each comes with them, and by when they have all ended.
# Each row says how old the count is, where the walk began, its last task, how many it passed, and how many of them may
# go. One row without an `id`: none may. No row: nobody has counted.
OLDEST = statement(f"""
WITH largest AS MATERIALIZED (
  SELECT tenant, walked_to, {NOW} - counted_at AS age_ms FROM tenant_storage ORDER BY bytes DESC, tenant LIMIT 1
), walk AS MATERIALIZED (
  SELECT tasks.id, total, finished_at, wake_at FROM largest CROSS JOIN tasks
  WHERE tasks.id > largest.tenant || ':' || walked_to AND tasks.id < largest.tenant || ';'
  ORDER BY tasks.id LIMIT :walk_most
), ended AS MATERIALIZED (
  SELECT id, {UNCOUNTED} AS uncounted, sum(total) OVER page AS chunks, row_number() OVER page AS place FROM walk
  WHERE finished_at <= {NOW} - :kept_ms WINDOW page AS (ORDER BY id)
)
SELECT tenant, walked_to, age_ms, (SELECT max(id) FROM walk) AS last, (SELECT count(*) FROM walk) AS walked,
  (SELECT count(*) FROM ended) AS may_go, {NOW} - :kept_ms AS ended_by, id, uncounted
FROM largest LEFT JOIN ended ON place <= :most AND (place = 1 OR chunks <= :chunks_most) ORDER BY place
""")

# Has the next walk over the tenant's tasks go on elsewhere, unless another sweep has done so. It goes behind the
# erasure of what the walk has found, in its transaction.
WALK_ON = statement("""
UPDATE tenant_storage SET walked_to = :walked_to WHERE tenant = :tenant AND walked_to = :walked_from
""")

# Erases those of the tasks that ended at `:ended_by`, of OLDEST, or earlier, with all their parts: one that was put
# back meanwhile is left alone. All statements look at the same rows, since they are given the time. What the tasks took
# is taken off their tenants' counts, first. It only makes room, so a full database lets it happen.
_OLD = f"(SELECT id FROM tasks WHERE {LISTED} AND finished_at <= :ended_by)"
DISCOUNT = statement(f"""
UPDATE tenant_storage SET bytes = bytes - (SELECT coalesce(sum({_BYTES}), 0) FROM tasks
  WHERE id IN {_OLD} AND tasks.tenant = tenant_storage.tenant)
WHERE tenant IN (SELECT tenant FROM tasks WHERE id IN {_OLD})
""")
ERASE_OLD = (*delete_parts("IN", _OLD), statement(f"DELETE FROM tasks WHERE id IN {_OLD} RETURNING id"))

# Adds the ends of those to the sums that no fold has come to. Goes before the last of ERASE_OLD.
OLD_COUNT = statement(count_ends(f"id IN {_OLD}"))
