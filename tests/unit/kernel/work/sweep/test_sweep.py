"""The sweep: which tasks it sends off and erases, when, and how far it gets, page after page."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.calls.pace import Rests
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey, split_task_key
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route, Status
from src.kernel.run.log import Log
from src.kernel.store import seen, sweep
from src.kernel.store.claims import ClaimRefusal, Unclaimed
from src.kernel.store.d1 import BoundStatement
from tests.support.invocations import Road, new_sweep, new_worker
from tests.support.store_bench import FAILURE, LEASE_MS, RETENTION_MS, START_MS, StoreBench
from tests.support.worker_bench import WorkerBench


@pytest.fixture
def bench():
    made = StoreBench()
    yield made
    made.database.close()


SENT_MOST = 40  # how many tasks a sweep on the free plan sends: a send each and five D1 calls, within 45 subrequests


def run_sweep(bench: StoreBench, *senders: Road) -> str:
    lines: list[str] = []
    worker = new_worker(bench.database, provider=None, settings=Settings(), log=Log(lines.append))
    bench.run(new_sweep(worker, senders).run())
    return next(line for line in lines if '"event":"swept"' in line)


def swept(bench: StoreBench, most: int = 100) -> tuple[list[TaskKey], int]:
    due = bench.run(bench.store.due(most))
    return bench.run(bench.store.take_due(due, LEASE_MS)), bench.run(bench.store.erase_expired(due))


def test_a_task_that_nobody_took_is_dispatched_again_later_and_later(bench: StoreBench):
    bench.insert()
    gaps: list[int] = []
    last = bench.time_ms
    while len(gaps) < 9:
        bench.pass_ms(LEASE_MS)
        ids, _ = swept(bench)
        if ids:
            gaps.append((bench.time_ms - last) // LEASE_MS)
            last = bench.time_ms
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_a_task_that_kills_every_worker_is_given_up(bench: StoreBench):
    bench.insert()

    def sweep() -> list[TaskKey]:
        due = bench.run(bench.store.due(10))
        hopeless = [task_key for task_key, stalls in due.stalls.items() if stalls >= 3]
        ended = bench.run(bench.store.give_up(hopeless, 3, FAILURE, RETENTION_MS))
        assert bench.run(bench.store.take_due(due, LEASE_MS)) == []
        return ended

    for stalls, rest_ms in ((0, LEASE_MS), (1, 5 * LEASE_MS), (2, 4 * LEASE_MS)):
        claim = bench.claim(rests=Rests((0, 6 * LEASE_MS), 10 * LEASE_MS))
        assert (claim.stalls, claim.rest_ms) == (stalls, rest_ms if stalls else 0)
        assert bench.run(bench.store.give_up([TaskKey("task")], 3, FAILURE, RETENTION_MS)) == []
        bench.pass_ms(rest_ms - 1)
        assert sweep() == []
        assert bench.try_claim() == Unclaimed(ClaimRefusal.HELD, 1)
        assert bench.row("task")["wake_at"] == bench.time_ms + 1
        bench.pass_ms(1)
    assert sweep() == ["task"]
    assert (bench.row("task")["status"], bench.row("task")["error_code"]) == ("failed", FAILURE.code)


def test_tasks_to_erase_and_tasks_to_send_do_not_crowd_each_other_out(bench: StoreBench):
    for number in range(20):
        bench.in_status(Status.COMPLETED, f"old{number:02}")
    bench.pass_ms(RETENTION_MS)
    for number in range(20):
        bench.insert(f"new{number:02}")
    bench.pass_ms(LEASE_MS)
    due = bench.run(bench.store.due(10))
    assert [task_key[:3] for task_key in due.past_retention + due.idle] == ["old"] * 10 + ["new"] * 10


def test_an_erasure_that_fails_holds_up_no_dispatch(bench: StoreBench):
    bench.in_status(Status.COMPLETED, "old")
    bench.pass_ms(RETENTION_MS)
    bench.insert("new")
    bench.pass_ms(LEASE_MS)
    queue = Road()
    bench.database.rows("CREATE TRIGGER never BEFORE DELETE ON tasks BEGIN SELECT raise(ABORT, 'never'); END")
    run_sweep(bench, queue)
    assert queue.sent == ["new"]


def backlog(bench: StoreBench, tenant: str, tasks: int) -> None:
    """Write due tasks for a tenant. Write rows of `tasks` only, since the sweep's search reads no other table."""
    bench.insert(f"{tenant}:template")
    columns = [str(column["name"]) for column in bench.database.rows("PRAGMA table_info(tasks)")]
    copied = ", ".join("printf('%s:%05d', ?2, value)" if name == "id" else f"tasks.{name}" for name in columns)
    bench.database.rows(
        f"INSERT INTO tasks ({', '.join(columns)}) SELECT {copied} FROM tasks, json_each(?1) "  # noqa: S608
        "WHERE tasks.id = ?2 || ':template'",
        json.dumps(list(range(1, tasks))),
        tenant,
    )


def tenants_of(ids: list[TaskKey]) -> list[str]:
    return [split_task_key(task_key)[0] for task_key in ids]


def test_a_backlog_does_not_hold_up_another_tenant(bench: StoreBench):
    backlog(bench, "many", 10_000)
    bench.pass_ms(LEASE_MS)
    backlog(bench, "one", 1)
    bench.pass_ms(LEASE_MS)
    ids, _ = swept(bench, limits.SWEEP_PAGE_TASKS)
    assert len(ids) == limits.SWEEP_PAGE_TASKS
    assert tenants_of(ids).count("one") == 1


def test_tenants_take_permits_within_a_page(bench: StoreBench):
    for tenant, tasks in (("a", 50), ("b", 50), ("c", 2)):
        backlog(bench, tenant, tasks)
        bench.pass_ms(1)
    bench.pass_ms(LEASE_MS)
    ids, _ = swept(bench, 20)
    assert sorted(tenants_of(ids)) == ["a"] * 9 + ["b"] * 9 + ["c"] * 2
    assert [task_key for task_key in ids if task_key.startswith("a")] == [f"a:{number:05}" for number in range(1, 10)]


@pytest.mark.parametrize(("tenants", "page"), [(12, 5), (10, 5), (7, 3), (5, 5)])
def test_with_more_tenants_than_the_page_holds_each_has_its_turn(bench: StoreBench, tenants: int, page: int):
    """If more tenants have due tasks than a page has places, each tenant waits for at most one round of the others."""
    for number in range(tenants):
        backlog(bench, f"t{number:02}", 30 if number % 3 else 1)
        bench.pass_ms(1)
    bench.pass_ms(LEASE_MS)
    around = -(-tenants // page)
    waited = dict.fromkeys((f"t{number:02}" for number in range(tenants)), 0)
    for _ in range(8 * around):
        waiting = [tenant for tenant in waited if is_due(bench, tenant)]
        served = set(tenants_of(swept(bench, page)[0]))
        waited = {tenant: waited[tenant] + 1 if tenant in waiting and tenant not in served else 0 for tenant in waited}
        assert max(waited.values()) < around, waited
        bench.pass_ms(60_000)


@pytest.mark.parametrize("turns", [1, limits.SWEEP_SHIFTS])
@pytest.mark.parametrize("tenants", [2, 3, 8, 10])
def test_where_a_run_gets_to_one_task_only_the_tenants_take_permits_too(bench: StoreBench, tenants: int, turns: int):
    """If a sweep reaches only one task, because only the direct route takes it, tenants take turns too."""
    for number in range(tenants):
        backlog(bench, f"t{number}", 30)
        bench.pass_ms(1)
    bench.pass_ms(LEASE_MS)
    served = []
    for _ in range(2 * tenants):
        first, _ = bench.run(bench.store.due(limits.SWEEP_PAGE_TASKS, served=turns)).split(1)
        served += tenants_of(bench.run(bench.store.take_due(first, LEASE_MS)))
        bench.pass_ms(60_000)
    assert sorted(served[:tenants]) == sorted(served[tenants:]) == sorted(f"t{number}" for number in range(tenants))


def is_due(bench: StoreBench, tenant: str) -> bool:
    return bool(
        bench.database.rows("SELECT 1 FROM tasks WHERE tenant = ? AND wake_at <= ? LIMIT 1", tenant, bench.time_ms)
    )


def test_the_whole_sweep_fails_overdue_tasks_and_sends_the_others_off(bench: StoreBench):
    bench.insert("a:late", deadline_ms=LEASE_MS)
    bench.insert("a:idle", deadline_ms=10 * LEASE_MS)
    bench.pass_ms(LEASE_MS)
    queue = Road()
    assert '"expired":1' in run_sweep(bench, queue)
    assert queue.sent == ["a:idle"]
    assert bench.row("a:late")["status"] == "failed"


def test_a_tenant_adds_only_so_many_to_the_queue_in_a_run(bench: StoreBench):
    backlog(bench, "many", 100)
    backlog(bench, "few", 5)
    bench.pass_ms(LEASE_MS)
    queue, objects = Road(), Road(Route.DURABLE_OBJECT)
    run_sweep(bench, queue, objects)
    sent = Counter(tenants_of(queue.sent))
    assert sent == {"many": limits.SWEEP_QUEUE_SHARE, "few": 5}
    assert tenants_of(objects.sent) == ["many"] * (SENT_MOST - sent.total())
    alone = Road()
    run_sweep(bench, alone)
    assert tenants_of(alone.sent) == ["many"] * SENT_MOST


ERASED_A_DAY = 200_000
RUNS_A_DAY = 24 * 60
LIVE = "status = 'processing', holder = 'h', started_at = 1, lease_until = wake_at + 100000000"
ENDED = "status = 'completed', completed = total, started_at = 1, finished_at = 1"


class Cron:
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
