"""How far a sweep gets, page after page, whatever tasks it finds, and how many tasks it erases."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Route
from src.kernel.store import seen, sweep
from src.kernel.store.d1 import BoundStatement
from tests.support.invocations import new_sweep
from tests.support.store_bench import START_MS
from tests.support.worker_bench import WorkerBench

ERASED_A_DAY = 200_000
RUNS_A_DAY = 24 * 60
LIVE = "status = 'processing', holder = 'h', started_at = 1, lease_until = wake_at + 100000000"
ENDED = "status = 'completed', completed = total, started_at = 1, finished_at = 1"


class Road:
    """A route that accepts every task."""

    route = Route.QUEUE

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        self.sent.append(task_key)


class Cron:
    """A deployment on this plan, whose cron trigger a test fires."""

    def __init__(self, plan: str) -> None:
        self.bench = WorkerBench()
        self.bench.settings = replace(self.bench.settings, plan=plan)
        self.road = Road()

    def fill(self, tenant: str, tasks: int, state: str = "") -> None:
        insert = self.bench.database.rows
        numbers = json.dumps(list(range(tasks)))
        insert(
            "INSERT INTO tasks (id, status, route, reduce, metadata, total, merge_chars, calls_minimum, created_at,"
            " wake_at) SELECT printf('%s:%06d', ?1, value), 'pending', 'queue', 'none', '{}', 1, 2000, 1, 0, ?3 + value"
            " FROM json_each(?2)",
            tenant,
            numbers,
            START_MS - 10_000_000,
        )
        if state:
            insert(f"UPDATE tasks SET {state} WHERE tenant = ?1", tenant)  # noqa: S608 - constants
        insert(
            "INSERT INTO texts (task_id, input, instructions, cuts, overlap)"
            " SELECT id, 'x', '', '[1]', 0 FROM tasks WHERE tenant = ?1",
            tenant,
        )

    def lengthen(self, tenant: str, chunks: int) -> None:
        """Give ended tasks this many chunks and a segment of a kilobyte, and every fifth a webhook delivery."""
        insert = self.bench.database.rows
        insert("UPDATE tasks SET total = ?2, completed = ?2, calls_minimum = ?2 WHERE tenant = ?1", tenant, chunks)
        places = ",".join(map(str, range(chunks)))
        insert(
            "INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)"
            " SELECT id, 0, 0, 1, 1, 0, ?2, ?2, randomblob(1000) FROM tasks WHERE tenant = ?1",
            tenant,
            places,
        )
        insert(
            "INSERT INTO webhook_deliveries (state, task_id, generation, endpoint_id, event, ended_at, begun_at,"
            " due_at, outcome) SELECT 0, id, 0, 'e', 'task.completed', 1, 1, 1, 'delivered' FROM tasks"
            " WHERE tenant = ?1 AND CAST(substr(id, 3) AS INTEGER) % 5 = 0",
            tenant,
        )

    def left(self, tenant: str) -> dict[str, int]:
        tables = {"tasks": "id", "texts": "task_id", "segments": "task_id", "webhook_deliveries": "task_id"}
        return {
            table: self.bench.database.rows(f"SELECT count(*) AS n FROM {table} WHERE {key} LIKE '{tenant}:%'")[0]["n"]  # noqa: S608
            for table, key in tables.items()
        }

    def fire(self) -> None:
        self.bench.do(asyncio.sleep(60))
        worker = self.bench.worker()
        self.bench.do(new_sweep(worker, [self.road]).run())
        assert worker.meter.subrequests <= worker.settings.subrequests
        assert worker.meter.statements <= worker.settings.statements

    def count(self, condition: str) -> int:
        (row,) = self.bench.database.rows(f"SELECT count(*) AS found FROM tasks WHERE {condition}")  # noqa: S608
        return int(row["found"])


@pytest.fixture
def cron():
    made: list[Cron] = []

    def build(plan: str) -> Cron:
        made.append(Cron(plan))
        return made[-1]

    yield build
    for one in made:
        one.bench.close()


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["free", "paid"])
def test_a_lost_task_beside_many_live_ones_is_sent_soon(cron: Callable[[str], Cron], plan: str):
    """Within two sweeps a lost task is sent off, and tasks with a live lease are left alone."""
    made = cron(plan)
    made.fill("t", 600, LIVE)
    made.fill("u", 10_000, ENDED)
    key = TaskKey("t:lost")
    made.bench.database.rows("UPDATE tasks SET wake_at = wake_at - 1000000 WHERE tenant = 't'")
    made.fill("lost", 1)
    made.bench.database.rows("UPDATE tasks SET id = ? WHERE tenant = 'lost'", key)
    made.fire()
    if key not in made.road.sent:
        made.fire()
    assert made.road.sent == [key]
    assert made.count("status = 'processing'") == 600
    assert made.count("tenant = 'u'") < 10_000


def test_a_run_goes_on_page_after_page(cron: Callable[[str], Cron]):
    made = cron("paid")
    made.fill("t", 2_000)
    made.fire()
    assert 850 < len(made.road.sent) < 900
    made.fire()
    made.fire()
    assert sorted(made.road.sent) == sorted(f"t:{number:06}" for number in range(2_000))


def test_erasure_keeps_up(cron: Callable[[str], Cron]):
    made = cron("paid")
    made.fill("t", 3_000)
    made.fill("u", 3_000, ENDED)
    made.fire()
    erased = 3_000 - made.count("tenant = 'u'")
    assert erased * RUNS_A_DAY >= ERASED_A_DAY
    assert erased == limits.ERASE_TASKS_MOST["paid"] * limits.ERASE_PAGES_MOST["paid"]
    assert len(made.road.sent) > 800
    for _ in range(3):
        made.fire()
    assert made.count("tenant = 'u'") == 0


@pytest.mark.parametrize(("chunks", "of_a_page"), [(20, 200), (100, 50), (5_000, 1)])
def test_erasure_keeps_up_with_tasks_of_many_chunks(cron: Callable[[str], Cron], chunks: int, of_a_page: int):
    made = cron("paid")
    made.fill("u", 1_100, ENDED)
    made.lengthen("u", chunks)
    assert made.left("u") == {"tasks": 1_100, "texts": 1_100, "segments": 1_100, "webhook_deliveries": 220}
    made.fire()
    erased = of_a_page * limits.ERASE_PAGES_MOST["paid"]
    assert of_a_page == min(limits.ERASE_TASKS_MOST["paid"], limits.ERASE_OUTPUTS_MOST // chunks)
    left = 1_100 - erased  # every fifth of the erased tasks has a webhook delivery
    assert made.left("u") == {"tasks": left, "texts": left, "segments": left, "webhook_deliveries": left // 5}
    if chunks <= 100:
        assert erased * RUNS_A_DAY >= ERASED_A_DAY


def test_what_ended_first_is_erased_first(cron: Callable[[str], Cron]):
    made = cron("free")
    for tenant in ("b", "a"):
        made.fill(tenant, 100, ENDED)
    made.fire()
    most = limits.ERASE_TASKS_MOST["free"]
    assert made.count(f"CAST(substr(id, 3) AS INTEGER) < {most // 2}") == 0
    assert made.count("1") == 200 - most


def _steps(made: Cron, statement: BoundStatement) -> int:
    """Count the instructions that SQLite executes for a statement, as a measure of the rows that it reads."""
    connection: Any = made.bench.database._connection
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    # The first execution also reads the schema, unless an earlier test has prepared the statement on this connection.
    made.bench.database.rows(statement.sql, *statement.values)
    connection.set_progress_handler(step, 1)
    made.bench.database.rows(statement.sql, *statement.values)
    connection.set_progress_handler(None, 0)
    return steps


def test_idle_tenants_cost_nothing(cron: Callable[[str], Cron]):
    found = []
    for idle in (1, 1_000):
        made = cron("free")
        made.fill("t", 3)
        made.fill("u", idle, ENDED + ", wake_at = wake_at + 1000000000")
        made.bench.database.rows("UPDATE tasks SET id = printf('idle%s:0', substr(id, 3)) WHERE tenant = 'u'")
        assert made.count("tenant LIKE 'idle%'") == idle
        found.append(
            [
                _steps(
                    made,
                    sweep.DUE.bind(
                        most=limits.SWEEP_PAGE_TASKS, tenants_served=limits.SWEEP_SHIFTS, apart_ms=60_000, in_vain=None
                    ),
                ),
                _steps(made, sweep.PAST_RETENTION.bind(most=40, chunks_most=limits.ERASE_OUTPUTS_MOST)),
                _steps(made, seen.BACKLOG.bind()),
            ]
        )
    assert found[0] == found[1]
