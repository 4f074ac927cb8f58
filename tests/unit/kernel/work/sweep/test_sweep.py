"""The sweep: which tasks it sends off and when, and which ones it erases."""

import json
from collections import Counter

import pytest

from src.kernel.calls.pace import Rests
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey, split_task_key
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import DEADLINE_EXCEEDED, Route, Status
from src.kernel.run.log import Log
from src.kernel.run.waits import OVERDUE
from src.kernel.store.claims import ClaimRefusal, Finish, Release, Unclaimed
from src.kernel.store.sweep import Due
from tests.support.invocations import new_sweep, new_worker
from tests.support.store_bench import FAILURE, LEASE_MS, RETENTION_MS, StoreBench, outputs


@pytest.fixture
def bench():
    made = StoreBench()
    yield made
    made.database.close()


SENT_MOST = 40  # how many tasks a sweep on the free plan sends: a send each and five D1 calls, within 45 subrequests


class Recorder:
    """A sender that accepts every task."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.sent: list[TaskKey] = []

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        self.sent.append(task_key)


def run_sweep(bench: StoreBench, *senders: Recorder) -> str:
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


def test_a_dead_workers_task_is_dispatched_when_its_lease_is_over(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS // 2)
    bench.claim()
    bench.pass_ms(LEASE_MS // 2)
    assert swept(bench) == ([], 0)
    assert bench.row("task")["wake_at"] == bench.row("task")["lease_until"]
    bench.pass_ms(LEASE_MS // 2)
    assert swept(bench) == (["task"], 0)
    assert bench.claim().stalls == 1


def test_a_claim_brings_the_sweep_forward(bench: StoreBench):
    """A claim brings the sweep's next check of a task forward, so a worker's death is noticed when its lease ends."""
    bench.insert()
    for _ in range(40):
        bench.pass_ms(LEASE_MS)
        swept(bench)
    assert bench.row("task")["wake_at"] > bench.time_ms + LEASE_MS
    bench.claim()
    bench.pass_ms(LEASE_MS)
    assert swept(bench) == (["task"], 0)


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


def test_a_delayed_task_is_not_dispatched_before_its_time(bench: StoreBench):
    """The sweep checks a task a lease after the end of a rate limit, in case the task's message is lost."""
    bench.insert()
    bench.step(bench.claim(), Release(3 * LEASE_MS, 4 * LEASE_MS))
    bench.pass_ms(3 * LEASE_MS)
    assert swept(bench) == ([], 0)
    bench.pass_ms(LEASE_MS)
    assert swept(bench) == (["task"], 0)


def test_two_sweeps_at_once_dispatch_once(bench: StoreBench):
    """If two sweeps have found the same tasks, only one of them sends the tasks off."""
    bench.insert()
    bench.pass_ms(LEASE_MS)
    due = bench.run(bench.store.due(10))
    first = bench.run(bench.store.take_due(due, LEASE_MS))
    second = bench.run(bench.store.take_due(due, LEASE_MS))
    assert (first, second) == (["task"], [])


def test_a_sweep_is_bounded_and_takes_the_longest_overdue_first(bench: StoreBench):
    for number in range(5):
        bench.insert(f"task-{number}")
        bench.pass_ms(1)
    bench.pass_ms(LEASE_MS)
    assert swept(bench, 2)[0] == ["task-0", "task-1"]
    assert swept(bench, 10)[0] == ["task-2", "task-3", "task-4"]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_finished_task_is_erased_after_its_retention(bench: StoreBench, status: Status):
    bench.in_status(status)
    bench.pass_ms(RETENTION_MS - 1)
    assert swept(bench) == ([], 0)
    bench.pass_ms(1)
    assert swept(bench) == ([], 1)
    for table in ("tasks", "texts", "segments", "failures"):
        assert bench.database.rows(f"SELECT * FROM {table}") == []  # noqa: S608


@pytest.mark.parametrize("due_at_once", [False, True])
def test_a_task_put_back_in_the_last_moment_is_not_erased(bench: StoreBench, due_at_once: bool):
    bench.in_status(Status.FAILED)
    bench.pass_ms(RETENTION_MS)
    due = bench.run(bench.store.due(10))
    assert due.past_retention == ["task"]
    assert bench.run(bench.store.retry(TaskKey("task"), LEASE_MS))
    if due_at_once:
        bench.run(bench.store.make_due([TaskKey("task")]))
    assert bench.run(bench.store.erase_expired(due)) == 0
    assert bench.claim().window.text == "xx"


def test_a_task_put_back_and_ended_again_is_not_erased_before_its_new_time(bench: StoreBench):
    bench.in_status(Status.FAILED)
    bench.pass_ms(RETENTION_MS)
    due = bench.run(bench.store.due(10))
    assert due.past_retention == ["task"]
    assert bench.run(bench.store.retry(TaskKey("task"), LEASE_MS))
    assert bench.step(bench.claim(), Finish(RETENTION_MS), outputs=outputs(0, 1), completed=2)
    kept = {table: bench.database.rows(f"SELECT * FROM {table}") for table in ("tasks", "texts", "segments")}  # noqa: S608
    assert bench.run(bench.store.erase_expired(due)) == 0
    assert {table: bench.database.rows(f"SELECT * FROM {table}") for table in kept} == kept  # noqa: S608
    bench.pass_ms(RETENTION_MS)
    assert swept(bench) == ([], 1)


def test_tasks_to_erase_and_tasks_to_send_do_not_crowd_each_other_out(bench: StoreBench):
    for number in range(20):
        bench.in_status(Status.COMPLETED, f"old{number:02}")
    bench.pass_ms(RETENTION_MS)
    for number in range(20):
        bench.insert(f"new{number:02}")
    bench.pass_ms(LEASE_MS)
    due = bench.run(bench.store.due(10))
    assert [task_key[:3] for task_key in due.past_retention + due.idle] == ["old"] * 10 + ["new"] * 10


def test_a_run_erases_as_many_outputs_as_a_transaction_takes(bench: StoreBench, monkeypatch: pytest.MonkeyPatch):
    """The sweep erases tasks together up to a number of chunks, and a task with more chunks alone."""
    for name in ("a", "b", "c"):
        bench.in_status(Status.COMPLETED, name)
    total = int(str(bench.row("a")["total"]))
    bench.pass_ms(RETENTION_MS)
    monkeypatch.setattr(limits, "ERASE_OUTPUTS_MOST", 2 * total)
    assert swept(bench) == ([], 2)
    bench.in_status(Status.COMPLETED, "d")
    bench.pass_ms(RETENTION_MS)
    monkeypatch.setattr(limits, "ERASE_OUTPUTS_MOST", total - 1)
    assert [swept(bench)[1] for _ in range(3)] == [1, 1, 0]


def test_an_erasure_that_fails_holds_up_no_dispatch(bench: StoreBench):
    """If D1 cannot erase a task, this sweep and later ones still send off all other tasks."""
    bench.in_status(Status.COMPLETED, "old")
    bench.pass_ms(RETENTION_MS)
    bench.insert("new")
    bench.pass_ms(LEASE_MS)
    queue = Recorder(Route.QUEUE)
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
    """If one tenant has 10,000 due tasks, another tenant's newest due task is in the sweep's next page all the same."""
    backlog(bench, "many", 10_000)
    bench.pass_ms(LEASE_MS)
    backlog(bench, "one", 1)
    bench.pass_ms(LEASE_MS)
    ids, _ = swept(bench, limits.SWEEP_PAGE_TASKS)
    assert len(ids) == limits.SWEEP_PAGE_TASKS
    assert tenants_of(ids).count("one") == 1


def test_tenants_take_turns_within_a_page(bench: StoreBench):
    """A page of the sweep is divided evenly among tenants, and places that a tenant does not need go to others."""
    for tenant, tasks in (("a", 50), ("b", 50), ("c", 2)):
        backlog(bench, tenant, tasks)
        bench.pass_ms(1)
    bench.pass_ms(LEASE_MS)
    ids, _ = swept(bench, 20)
    assert sorted(tenants_of(ids)) == ["a"] * 9 + ["b"] * 9 + ["c"] * 2
    assert [task_key for task_key in ids if task_key.startswith("a")] == [f"a:{number:05}" for number in range(1, 10)]


@pytest.mark.parametrize(("tenants", "page"), [(12, 5), (10, 5), (7, 3), (5, 5)])
def test_with_more_tenants_than_the_page_holds_each_has_its_turn(bench: StoreBench, tenants: int, page: int):
    """If more tenants have due tasks than a page has places, each tenant waits for at most one round of the others.

    In this test a sweep runs each minute, as with the cron trigger.
    """
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


@pytest.mark.parametrize("turns", [1, limits.SWEEP_TURNS])
@pytest.mark.parametrize("tenants", [2, 3, 8, 10])
def test_where_a_run_gets_to_one_task_only_the_tenants_take_turns_too(bench: StoreBench, tenants: int, turns: int):
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


def test_overdue_tasks_fail(bench: StoreBench):
    """The sweep fails a task whose deadline has passed, pending or at work, even under a live lease."""
    bench.insert("pending", deadline_ms=LEASE_MS // 2)
    bench.insert("working", deadline_ms=LEASE_MS // 2)
    bench.insert("later", deadline_ms=LEASE_MS // 2 + 1)
    bench.insert("free")
    bench.claim("working")
    bench.pass_ms(LEASE_MS // 2 - 1)
    assert bench.run(bench.store.due(10)).empty
    bench.pass_ms(1)
    due = bench.run(bench.store.due(10))
    assert (sorted(due.overdue), due.live, due.idle, due.past_retention) == (["pending", "working"], [], [], [])
    assert (
        sorted(bench.run(bench.store.expire([*due.overdue, TaskKey("later"), TaskKey("free")], OVERDUE, RETENTION_MS)))
        == due.overdue
    )
    for task_key in due.overdue:
        assert (bench.row(task_key)["status"], bench.row(task_key)["error_code"]) == ("failed", DEADLINE_EXCEEDED)
    assert bench.run(bench.store.expire(due.overdue, OVERDUE, RETENTION_MS)) == []
    assert bench.run(bench.store.take_due(due, LEASE_MS)) == []


def test_the_whole_sweep_fails_overdue_tasks_and_sends_the_others_off(bench: StoreBench):
    bench.insert("a:late", deadline_ms=LEASE_MS)
    bench.insert("a:idle", deadline_ms=10 * LEASE_MS)
    bench.pass_ms(LEASE_MS)
    queue = Recorder(Route.QUEUE)
    assert '"expired":1' in run_sweep(bench, queue)
    assert queue.sent == ["a:idle"]
    assert bench.row("a:late")["status"] == "failed"


def test_a_tenant_adds_only_so_many_to_the_queue_in_a_run(bench: StoreBench):
    backlog(bench, "many", 100)
    backlog(bench, "few", 5)
    bench.pass_ms(LEASE_MS)
    queue, objects = Recorder(Route.QUEUE), Recorder(Route.DURABLE_OBJECT)
    run_sweep(bench, queue, objects)
    sent = Counter(tenants_of(queue.sent))
    assert sent == {"many": limits.SWEEP_QUEUE_SHARE, "few": 5}
    assert tenants_of(objects.sent) == ["many"] * (SENT_MOST - sent.total())
    alone = Recorder(Route.QUEUE)
    run_sweep(bench, alone)
    assert tenants_of(alone.sent) == ["many"] * SENT_MOST


def test_a_repeated_dispatch_does_not_sleep_through_the_deadline(bench: StoreBench):
    """However far the sweep has put off its check of a task, it checks the task at the task's deadline."""
    bench.insert(deadline_ms=5 * LEASE_MS)
    bench.pass_ms(LEASE_MS)
    swept(bench)
    bench.pass_ms(2 * LEASE_MS)
    swept(bench)
    assert bench.row("task")["wake_at"] == bench.row("task")["deadline_at"]


def test_a_postponed_look_does_not_sleep_through_the_deadline(bench: StoreBench):
    """The sweep checks a task with a live lease again at the lease's end, or at the deadline if that is earlier."""
    bench.insert("soon", deadline_ms=LEASE_MS + 10)
    bench.insert("late", deadline_ms=3 * LEASE_MS)
    bench.pass_ms(LEASE_MS // 2)
    for name in ("soon", "late"):
        bench.claim(name)
    bench.pass_ms(LEASE_MS // 2)
    due = bench.run(bench.store.due(10))
    assert sorted(due.live) == ["late", "soon"]
    assert bench.run(bench.store.take_due(due, LEASE_MS)) == []
    wake_at = {name: bench.row(name)["wake_at"] - bench.time_ms for name in ("soon", "late")}
    assert wake_at == {"soon": 10, "late": LEASE_MS // 2}
    bench.pass_ms(10)
    assert bench.run(bench.store.due(10)).overdue == ["soon"]


@pytest.mark.parametrize("ends", ["completes", "is given up"])
def test_a_look_is_not_postponed_for_who_is_live_no_more(bench: StoreBench, ends: str):
    """The sweep does not put off its check of a task whose lease is over by the time of the sweep's write."""
    bench.insert()
    bench.pass_ms(LEASE_MS // 2)
    claim = bench.claim()
    bench.pass_ms(LEASE_MS // 2)
    due = bench.run(bench.store.due(10))
    assert due.live == ["task"]
    if ends == "completes":
        assert bench.step(claim, Finish(RETENTION_MS), outputs=outputs(0, 1), completed=2)
    else:
        bench.pass_ms(LEASE_MS // 2)
    before = bench.row("task")["wake_at"]
    assert bench.run(bench.store.take_due(due, LEASE_MS)) == []
    assert bench.row("task")["wake_at"] == before


def test_a_task_that_is_given_back_after_the_look_keeps_its_time(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS)
    due = bench.run(bench.store.due(10))
    assert due.idle == ["task"]
    assert bench.step(bench.claim(), Release(5 * LEASE_MS, 6 * LEASE_MS))
    before = bench.row("task")
    assert bench.run(bench.store.take_due(due, LEASE_MS)) == []
    assert bench.row("task") == before


def test_a_task_whose_deadline_passes_after_the_look_is_not_sent_off(bench: StoreBench):
    """If a task's deadline passes after the sweep has found it, it is not sent off, since no worker can claim it."""
    bench.insert(deadline_ms=LEASE_MS + 1)
    bench.pass_ms(LEASE_MS)
    due = bench.run(bench.store.due(10))
    assert due.idle == ["task"]
    bench.pass_ms(1)
    assert bench.run(bench.store.take_due(due, LEASE_MS)) == []
    assert bench.run(bench.store.due(10)).overdue == ["task"]


def test_a_page_is_split():
    """A page of the sweep is split: its first part has all tasks that are not idle, and a number of idle ones."""
    due = Due(7)
    due.add(TaskKey("live"), Status.PROCESSING, live=True, overdue=False, stalls=2)
    due.add(TaskKey("idle"), Status.PENDING, live=False, overdue=False, stalls=0)
    due.add(TaskKey("dead"), Status.PROCESSING, live=False, overdue=False, stalls=3)
    due.past_retention.append(TaskKey("over"))
    due.add(TaskKey("late"), Status.PROCESSING, live=True, overdue=True, stalls=3)
    assert due == Due(
        7,
        live=[TaskKey("live")],
        idle=[TaskKey("idle"), TaskKey("dead")],
        past_retention=[TaskKey("over")],
        overdue=[TaskKey("late")],
        stalls={TaskKey("dead"): 3},
    )
    first, rest = due.split(1)
    assert first == Due(
        7, live=[TaskKey("live")], idle=[TaskKey("idle")], past_retention=[TaskKey("over")], overdue=[TaskKey("late")]
    )
    assert rest == Due(idle=[TaskKey("dead")], stalls={TaskKey("dead"): 3})
    assert rest.split(1) == (rest, Due())
    assert (Due(7).empty, rest.empty, first.empty) == (True, False, False)
