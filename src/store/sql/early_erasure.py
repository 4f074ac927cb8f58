"""The SQL that frees space: who stores most, and which ended tasks are erased before their retention is over."""

from ..d1.statement import statement
from .fragments import LISTED, NOW, delete_parts
from .tallies import UNCOUNTED, count_ends

# Roughly the bytes of a task: its rows, four bytes for each token of its outputs, and its input until that is emptied,
# or for good with `:keep_input` or gaps. The input counts four bytes for each token of the answered calls, or as many
# bytes as its chunks may have characters, so that it counts before the first call. The expression reads only the task's
# own row.
_BYTES = """2000 + 4 * output_tokens + CASE WHEN status = 'completed' AND failed = 0 AND NOT :keep_input THEN 0
  ELSE max(4 * input_tokens, total * coalesce(chunk_chars, 6000)) END"""

# Counts what each tenant stores, and keeps the `:tenants_most` that store most. The statement reads each task's row
# once, however many there are.
FORGET_COUNT = statement("DELETE FROM tenant_storage")
COUNT = statement(f"""
INSERT INTO tenant_storage (tenant, bytes, counted_at)
SELECT tenant, sum({_BYTES}), {NOW} FROM tasks GROUP BY tenant ORDER BY 2 DESC, tenant LIMIT :tenants_most
ON CONFLICT DO UPDATE SET bytes = excluded.bytes, counted_at = excluded.counted_at
""")

# Walks over `:walk_most` tasks of the tenant that stores most, in order of creation, from where the last walk ended.
# Finds those that ended at least `:kept_ms` ago: up to `:most`, with `:chunks_most` chunks together, or one task with
# more. `uncounted` says whether a fold must still add the task, and `ended_by` by when they all have ended. Each row
# also gives the age of the count, where the walk began, its last task, how many it passed, and how many of them may go.
# One row without an `id` means that no task may go. No row means that there is no count.
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

# Moves the start of the next walk over the tenant's tasks, unless another sweep has done so. The same transaction
# first erases the tasks that the walk found.
WALK_ON = statement("""
UPDATE tenant_storage SET walked_to = :walked_to WHERE tenant = :tenant AND walked_to = :walked_from
""")

# Erases those of the tasks that ended at `:ended_by`, of OLDEST, or earlier, with all their parts. A task that was
# retried in between stays. All statements see the same rows, because they are given the time. First the tasks' bytes
# are subtracted from their tenants' counts. The statement only frees space, so it works on a full database.
_OLD = f"(SELECT id FROM tasks WHERE {LISTED} AND finished_at <= :ended_by)"
DISCOUNT = statement(f"""
UPDATE tenant_storage SET bytes = bytes - (SELECT coalesce(sum({_BYTES}), 0) FROM tasks
  WHERE id IN {_OLD} AND tasks.tenant = tenant_storage.tenant)
WHERE tenant IN (SELECT tenant FROM tasks WHERE id IN {_OLD})
""")
ERASE_OLD = (*delete_parts("IN", _OLD), statement(f"DELETE FROM tasks WHERE id IN {_OLD} RETURNING id"))

# Adds the ends of those tasks that no fold has added to the sums. This statement goes before the last one of ERASE_OLD.
OLD_COUNT = statement(count_ends(f"id IN {_OLD}"))
