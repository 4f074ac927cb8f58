"""Measures the cost of a claim, a poll, a list and a sweep page with a thousand and with a million stored tasks.

The cost is the number of SQLite's steps, the instructions of its virtual machine. The count of SQLite's steps is exact,
and it grows with every row that SQLite reads.
"""

import sqlite3
from collections.abc import Callable
from functools import partial

from bench.figures import Figure
from src.features.operate import tallies as figures
from src.features.webhooks import deliveries_store
from src.kernel.domain.task import Status, TaskOptions
from src.kernel.store import (
    admission,
    early_erasure,
    ending,
    events,
    options,
    seen,
    sweep,
    tallies,
    views,
    work_statements,
)
from src.kernel.store.d1 import BoundStatement, Value
from src.kernel.store.fragments import OPTION_PARAMETERS, OPTIONS
from src.kernel.store.rows import ListFilter
from tests.support.sqlite_d1 import MIGRATIONS

NOW_MS = 1_800_000_000_000
# This SQL makes the tasks. Every tenth task in the table is unfinished, and one of these is due. The ended tasks are
# kept for different times.
FILL = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :size)
INSERT INTO tasks (id, status, route, {OPTIONS}, total, completed, merge_chars, calls_minimum, created_at,
                   wake_at, finished_at)
SELECT printf('local:%08x-0000-7000-8000-000000000000', i), iif(i % 10, 'completed', 'pending'), 'queue',
  {OPTION_PARAMETERS}, 1, i % 10 > 0, 2000, 1, :now - i,
  :now + iif(i % 10 = 0 AND i % 1000 = 0 AND i < 1000, -i, 1000 + i), iif(i % 10, :now, NULL)
FROM n
"""  # noqa: S608
# This SQL records that an endpoint has received the end of every ended task, so no delivery waits.
HEARD = """
INSERT INTO webhook_deliveries (state, task_id, generation, endpoint_id, event, ended_at, begun_at, due_at, outcome)
SELECT 0, id, 0, 'other:we_0', 'task.completed', 0, 0, 0, 'delivered' FROM tasks WHERE finished_at IS NOT NULL
"""
# This SQL records that the tenant's stored bytes are counted already, because early erasure needs the count.
COUNTED = "INSERT INTO tenant_storage (tenant, bytes, counted_at) VALUES ('local', 1, ?)"
ENDED = "local:00000001-0000-7000-8000-000000000000"
KEY = "local:00000000-0000-7000-8000-000000000000"
PAGE: dict[str, Value] = {"first": "local:", "behind": "local:~", "most": 20}
ACTS: dict[str, BoundStatement] = {
    "a claim": work_statements.CLAIM.bind(
        task_key=KEY,
        holder="h",
        host="",
        route="queue",
        lease_ms=1000,
        start_ms=2000,
        early_ms=1000,
        first_chunks="[0,1,2,3,4,5]",
        priced="[]",
        seen_fence=None,
        rests_ms="[0,500000]",
        least_ms=600000,
        stands_in=0,
        model="m",
        shared_ms=300_000,
    ),
    "a poll": views.TASK.bind(task_key=KEY, late_ms=60_000, in_vain=2, queued_ms=10_000, most_ahead=100),
    "a look of a stream": events.LOOK.bind(task_key=KEY, late_ms=60_000, in_vain=2),
    "a poll's nudge": seen.NUDGE.bind(task_key=KEY, delay_ms=1000, late_ms=60_000, in_vain=2),
    "a list page": views.LIST.bind(**PAGE),
    "a list page of one status": views.LIST_FILTERED.bind(**PAGE, **ListFilter(Status.FAILED)._asdict(), walk_most=500),
    "a submission's count of tasks in flight": admission.OUTCOME.bind(task_key=KEY, tenant="local", counted_most=100),
    "a look for what is to be erased": sweep.PAST_RETENTION.bind(most=1, chunks_most=1),
    "a walk of the early erasure": early_erasure.OLDEST.bind(most=40, kept_ms=0, chunks_most=5_000, walk_most=100),
    "a look for what has ended": tallies.FOLDABLE.bind(kept_ms="[1000]", most=100),
    "a look for calls of dead workers": tallies.SILENT.bind(claim_ms=1000, most=100),
    "a fold": tallies.FOLD.bind(kept_ms=1000, after=NOW_MS - 1, until=NOW_MS + 5),
    "a sample of the backlog": tallies.SAMPLE.bind(most=100),
    "a scrape's look at the backlog": figures.AT_WORK.bind(most=100),
    "a scrape's sums": figures.TOTALS.bind(),
    "a day's history": figures.HISTORY.bind(back_ms=86_400_000),
    "the sums' share of a deletion": ending.ERASE_COUNT.bind(task_key=KEY),
    "its share of an end that was added": ending.ERASE_COUNT_OPEN.bind(task_key=KEY),
    "a look for deliveries": deliveries_store.look("paid"),
    "deliveries put away": deliveries_store.SORT_DELIVERIES.bind(walk_most=500, breaker=5, kept_ms=90_000_000),
    "an end's outbox": deliveries_store.OUTBOX.bind(task_keys=f'["{ENDED}"]', held_ms=60_000, breaker=5, share=30),
    "the deliveries of a task": deliveries_store.DELIVERIES.bind(task_key=ENDED),
    "a look for who gets a place": sweep.NEXT_SLOTS.bind(task_key=None, most=1, give_most=10, walk_most=100),
    "a sweep page": sweep.DUE.bind(most=1, tenants_served=1, apart_ms=60_000, in_vain=None),
}


def measure() -> list[Figure]:
    """Count the steps of each act on a small and on a large table, and return the ratios."""
    small, large = steps(1_000), steps(1_000_000)
    return [
        Figure(f"{name}: steps with 1,000,000 tasks ÷ with 1,000", large[name] / small[name], "×", 1.0) for name in ACTS
    ]


def _run(connection: sqlite3.Connection, act: BoundStatement) -> None:
    connection.execute(act.sql, act.values).fetchall()


def steps(size: int) -> dict[str, int]:
    """Count the steps of each act in a database with a given number of tasks."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.create_function("unixepoch", -1, lambda *_: NOW_MS / 1000)
    for path in sorted(MIGRATIONS.glob("*.sql")):
        connection.executescript(path.read_text())
    connection.execute(FILL, {"size": size, "now": NOW_MS, **options.written(TaskOptions())})
    connection.execute(HEARD)
    connection.execute(COUNTED, (NOW_MS,))
    counted = {}
    for name, act in ACTS.items():
        counted[name] = _count(connection, partial(_run, connection, act))
    connection.close()
    return counted


def _count(connection: sqlite3.Connection, act: Callable[[], object]) -> int:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    connection.set_progress_handler(step, 1)
    act()
    connection.set_progress_handler(None, 0)
    return steps
