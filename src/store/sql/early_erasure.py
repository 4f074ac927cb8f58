"""The SQL that frees space: it finds who stores most, and erases ended tasks before their retention time is over."""

from ..d1.statement import statement
from .fragments import LISTED, NOW, delete_parts
from .tallies import UNCOUNTED, count_ends

# Estimates the bytes that a task stores: its rows, four bytes for each token of its outputs, and its input. A completed
# task has no input any more, unless `:keep_input` is set or the task has gaps. The input is estimated as four bytes for
# each token that the answered calls read, but at least as many bytes as the task's chunks may have characters, so that
# the input counts even before the first call. For a batch, only the index of its lines is estimated, because the
# batch's files are stored separately. To make the estimate, only the task's own row is read.
_BYTES = """2000 + CASE WHEN kind = 'batch' THEN 64 * total ELSE 4 * output_tokens
  + CASE WHEN status = 'completed' AND failed = 0 AND NOT :keep_input THEN 0
    ELSE max(4 * input_tokens, total * coalesce(chunk_chars, 6000)) END END"""

# FORGET_COUNT and COUNT replace the count of what tenants store; only the `:tenants_most` tenants that store most are
# kept in the count. COUNT reads the row of every task once.
FORGET_COUNT = statement("DELETE FROM tenant_storage")
COUNT = statement(f"""
INSERT INTO tenant_storage (tenant, bytes, counted_at)
SELECT tenant, sum({_BYTES}), {NOW} FROM tasks GROUP BY tenant ORDER BY 2 DESC, tenant LIMIT :tenants_most
ON CONFLICT DO UPDATE SET bytes = excluded.bytes, counted_at = excluded.counted_at
""")

# Walks over `:walk_most` tasks of the tenant that stores most, in order of creation, from where the last walk ended.
# OLDEST finds tasks that ended at least `:kept_ms` ago: up to `:most` tasks that have `:chunks_most` chunks together,
# or one task with more chunks. `uncounted` says that the task is not in the sums over ended tasks yet, and `ended_by`
# is a time by which all found tasks had ended. Each row also gives the age of the tenant's count, where the walk began,
# the walk's last task, how many tasks the walk read, and how many of these tasks may be erased. If OLDEST gives one row
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

# Sets where the next walk over a tenant's tasks begins, unless another sweep has already set it. The transaction of
# WALK_ON first erases the tasks that the last walk found.
WALK_ON = statement("""
UPDATE tenant_storage SET walked_to = :walked_to WHERE tenant = :tenant AND walked_to = :walked_from
""")

# DISCOUNT and ERASE_OLD erase, with all their parts, those of the given tasks that had ended by `:ended_by`, a time
# that OLDEST gave. A task that a client has retried since OLDEST is not erased. DISCOUNT, OLD_COUNT and ERASE_OLD apply
# to the same tasks, because they compare with the same given time. First, DISCOUNT subtracts the bytes of the erased
# tasks from the counts of their tenants. The erasure only frees space, so it also works on a full database.
_OLD = f"(SELECT id FROM tasks WHERE {LISTED} AND finished_at <= :ended_by)"
DISCOUNT = statement(f"""
UPDATE tenant_storage SET bytes = bytes - (SELECT coalesce(sum({_BYTES}), 0) FROM tasks
  WHERE id IN {_OLD} AND tasks.tenant = tenant_storage.tenant)
WHERE tenant IN (SELECT tenant FROM tasks WHERE id IN {_OLD})
""")
ERASE_OLD = (*delete_parts("IN", _OLD), statement(f"DELETE FROM tasks WHERE id IN {_OLD} RETURNING id"))

# Adds those tasks that are erased early, and that no fold has added yet, to the sums over ended tasks. OLD_COUNT must
# run before the last statement of ERASE_OLD.
OLD_COUNT = statement(count_ends(f"id IN {_OLD}"))
