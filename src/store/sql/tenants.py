"""The SQL that reads which tenants have tasks, and how each tenant's tasks ended."""

from ..d1.statement import statement
from .fragments import NOW

# Reads up to `:most` tenants that have tasks, in the order of their task keys, from the first task key that is not
# below `:first`. TENANTS reads one row for each tenant.
TENANTS = statement("""
WITH RECURSIVE found (tenant) AS (
  SELECT (SELECT tenant FROM tasks WHERE id >= :first ORDER BY id LIMIT 1)
  UNION ALL
  SELECT (SELECT tasks.tenant FROM tasks WHERE id >= found.tenant || ';' ORDER BY id LIMIT 1)
  FROM found WHERE found.tenant IS NOT NULL LIMIT :most
)
SELECT tenant FROM found WHERE tenant IS NOT NULL
""")

# Adds up those of the newest `:most` tasks of a tenant that were created within the last `:back_ms`, by status and
# error code. The tenant's task keys are from `:first` on and below `:behind`. FIGURES reads one row for each task.
FIGURES = statement(f"""
SELECT status, error_code, count(*) AS tasks,
  sum(calls_settled + calls_in_doubt + json_array_length(in_flight)) AS calls, sum(calls_in_doubt) AS in_doubt,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM (
  SELECT status, error_code, calls_settled, calls_in_doubt, in_flight, input_tokens, output_tokens, created_at
  FROM tasks WHERE id >= :first AND id < :behind ORDER BY id DESC LIMIT :most
) WHERE created_at > {NOW} - :back_ms GROUP BY status, error_code ORDER BY status, error_code
""")
