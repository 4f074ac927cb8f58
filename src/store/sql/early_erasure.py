"""The SQL that frees space: it finds who stores most, and erases ended tasks before their retention is over."""

from ..d1.statement import statement
from .fragments import LISTED, NOW, delete_parts
from .tallies import UNCOUNTED, count_ends

# Estimates the bytes that a task stores: its rows, four bytes for each token of its outputs, and its input. A completed
# task has no input any more, except with `:keep_input` or gaps. The input is estimated as four bytes for each token
# that the answered calls read, but at least as many bytes as the task's chunks may have characters, so that the input
# counts before the first call. Of a batch, the index of its lines is estimated, because its files are apart. The
# estimate reads only the task's own row.
_BYTES = """2000 + CASE WHEN kind = 'batch' THEN 64 * total ELSE 4 * output_tokens
  + CASE WHEN status = 'completed' AND failed = 0 AND NOT :keep_input THEN 0
    ELSE max(4 * input_tokens, total * coalesce(chunk_chars, 6000)) END END"""

# FORGET_COUNT and COUNT replace the count of what tenants store, and keep the `:tenants_most` tenants that store most.
# COUNT reads the row of every task once.
FORGET_COUNT = statement("DELETE FROM tenant_storage")
COUNT = statement(f"""
INSERT INTO tenant_storage (tenant, bytes, counted_at)
SELECT tenant, sum({_BYTES}), {NOW} FROM tasks GROUP BY tenant ORDER BY 2 DESC, tenant LIMIT :tenants_most
ON CONFLICT DO UPDATE SET bytes = excluded.bytes, counted_at = excluded.counted_at
""")

# Walks over `:walk_most` tasks of the tenant that stores most, in order of creation, from where the last walk ended.
# OLDEST finds the tasks that ended at least `:kept_ms` ago: up to `:most` tasks with `:chunks_most` chunks together, or
# one task with more chunks. `uncounted` says that the task is not in the sums over ended tasks yet, and `ended_by` is a
# time by which all found tasks had ended. Each row also gives the age of the tenant's count, where the walk began, the
# walk's last task, how many tasks the walk passed, and how many of these tasks may be erased. If OLDEST gives one row
# without an `id`, no task may be erased. If OLDEST gives no row, what tenants store was not counted yet.
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

# Sets where the next walk over a tenant's tasks begins, unless another sweep has done so. The transaction of WALK_ON
# first erases the tasks that the last walk found.
WALK_ON = statement("""
UPDATE tenant_storage SET walked_to = :walked_to WHERE tenant = :tenant AND walked_to = :walked_from
""")

# DISCOUNT and ERASE_OLD erase those of the given tasks that ended by `:ended_by`, the time of OLDEST, with all their
# parts. A task that was retried since OLDEST stays. DISCOUNT, OLD_COUNT and ERASE_OLD see the same tasks, because they
# compare with the same given time. First, DISCOUNT subtracts the tasks' bytes from their tenants' counts. The erasure
# only frees space, so it works on a full database.
_OLD = f"(SELECT id FROM tasks WHERE {LISTED} AND finished_at <= :ended_by)"
DISCOUNT = statement(f"""
UPDATE tenant_storage SET bytes = bytes - (SELECT coalesce(sum({_BYTES}), 0) FROM tasks
  WHERE id IN {_OLD} AND tasks.tenant = tenant_storage.tenant)
WHERE tenant IN (SELECT tenant FROM tasks WHERE id IN {_OLD})
""")
ERASE_OLD = (*delete_parts("IN", _OLD), statement(f"DELETE FROM tasks WHERE id IN {_OLD} RETURNING id"))

# Adds those tasks that are erased early, and that no fold has added yet, to the sums over ended tasks. OLD_COUNT goes
# before the last statement of ERASE_OLD.
OLD_COUNT = statement(count_ends(f"id IN {_OLD}"))
