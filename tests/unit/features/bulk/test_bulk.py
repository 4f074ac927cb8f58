"""A bulk request in the store: what it costs, what its late writes do, and that it fits into one invocation."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.features.bulk import store as sql
from src.features.bulk.bulk import BulkChange, BulkResult
from src.features.bulk.store import BulkStore
from src.kernel.domain import limits
from src.kernel.domain.database_state import StorageUse
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route, Status
from src.kernel.run.log import Log
from src.kernel.store.admission import UNCONDITIONAL, Conditions
from src.kernel.store.d1 import Database
from src.kernel.store.rows import Span
from src.kernel.work.dispatch import Dispatcher, Sender
from src.kernel.work.submission import Submission
from tests.support.invocations import Road, task_store
from tests.support.store_bench import LEASE_MS, RETENTION_MS, StoreBench
from tests.unit.kernel.store.test_tallies import ended, fail, fold, totals

ALL = Span("t:", "t:~")
FREE = Settings(plan="free", lease_seconds=LEASE_MS / 1000, timeout_seconds=1.0)


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


def store(bench: StoreBench) -> BulkStore:
    return bench.store.beside(BulkStore)


def bulk(bench: StoreBench, sender: Sender, settings: Settings = FREE) -> BulkChange:
    meter, lines = Meter(), list[str]()
    log = Log(lines.append)
    submission = Submission(
        store=task_store(Database(bench.database, meter)),
        dispatcher=Dispatcher([sender], meter, log),
        settings=settings,
        now_ms=lambda: bench.time_ms,
        entropy=bytes,
        meter=meter,
        storage=StorageUse(),
        log=log,
        after_answer=lambda sending: None,
    )
    return BulkChange(submission)


def keys(status: Status, bench: StoreBench, count: int) -> list[TaskKey]:
    found = [TaskKey(f"t:{number:03}") for number in range(count)]
    for key in found:
        bench.in_status(status, key)
    return found


def statuses(bench: StoreBench) -> list[str]:
    return [row["status"] for row in bench.database.rows("SELECT status FROM tasks ORDER BY id")]


def test_a_retry_of_a_hundred_keeps_to_an_invocation_of_the_free_plan(bench: StoreBench) -> None:
    tasks = keys(Status.FAILED, bench, limits.BULK_TASKS_MOST + 5)
    sender = Road()
    made = bulk(bench, sender)
    assert bench.run(made.retry("t", ALL, None)) == BulkResult(limits.BULK_TASKS_MOST, more=True)
    meter = made.submission.meter
    assert meter.database_calls == 3
    assert meter.subrequests <= limits.SUBREQUESTS["free"]
    assert meter.statements <= limits.STATEMENTS["free"]
    assert 30 <= len(sender.sent) < limits.BULK_TASKS_MOST
    due = bench.run(bench.store.due(limits.BULK_TASKS_MOST * 2))
    assert [*sender.sent, *sorted(due.idle)] == tasks[: limits.BULK_TASKS_MOST]
    assert statuses(bench) == ["pending"] * limits.BULK_TASKS_MOST + ["failed"] * 5


def test_a_retry_on_the_paid_plan_sends_all_off_in_two_calls(bench: StoreBench) -> None:
    tasks = keys(Status.FAILED, bench, limits.BULK_TASKS_MOST)
    sender = Road()
    made = bulk(bench, sender, Settings(plan="paid"))
    assert bench.run(made.retry("t", ALL, None)) == BulkResult(limits.BULK_TASKS_MOST, more=False)
    assert (made.submission.meter.database_calls, sender.sent) == (2, tasks)


def test_slow_sends_end_in_time(bench: StoreBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BULK_SEND_SECONDS", 0.05)
    keys(Status.FAILED, bench, 10)
    sender = Road(seconds=0.03)
    assert bench.run(bulk(bench, sender, Settings(plan="paid")).retry("t", ALL, None)) == BulkResult(10, more=False)
    assert 1 <= len(sender.sent) < 5
    assert len(bench.run(bench.store.due(20)).idle) == 10 - len(sender.sent)


def test_a_cancellation_of_a_hundred_takes_two_calls(bench: StoreBench) -> None:
    keys(Status.PROCESSING, bench, limits.BULK_TASKS_MOST)
    made = bulk(bench, Road())
    done = bench.run(made.cancel("t", ALL, None))
    assert (done.tasks, done.more) == (limits.BULK_TASKS_MOST, False)
    assert (made.submission.meter.database_calls, made.submission.meter.statements) == (2, 4)
    assert set(statuses(bench)) == {"cancelled"}


def test_queues_crowd_as_with_single_tasks(bench: StoreBench) -> None:
    keys(Status.FAILED, bench, 5)
    queue, objects = Road(), Road(Route.DURABLE_OBJECT)
    made = bulk(bench, queue, Settings(plan="paid"))
    meter, log = made.submission.meter, made.submission.log
    object.__setattr__(made.submission, "dispatcher", Dispatcher([queue, objects], meter, log))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "QUEUE_SHARE", 3)
        bench.run(made.retry("t", ALL, None))
    assert (len(queue.sent), len(objects.sent)) == (3, 2)


_CHANGED = "UPDATE tasks SET generation = generation + 2"
_ONE_PUT_BACK = """UPDATE tasks SET status = 'pending', finished_at = NULL,
  error_code = NULL, error_message = NULL, error_retryable = NULL WHERE id = 't:000'"""


@pytest.mark.parametrize("change", [_CHANGED, _ONE_PUT_BACK], ids=["all changed", "one put back, no room for two"])
def test_a_retry_of_tasks_that_others_changed_meanwhile_is_not_refused(
    bench: StoreBench, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    keys(Status.FAILED, bench, 2)
    made = bulk(bench, Road(), Settings(plan="paid", tasks_in_flight_most=2))
    usual = BulkStore.failed

    async def failed(*arguments: Any) -> Any:
        found = await usual(*arguments)
        bench.database.rows(change)
        return found

    monkeypatch.setattr(BulkStore, "failed", failed)
    assert bench.run(made.retry("t", ALL, None)) == BulkResult(0, more=True)


def test_a_retry_that_lands_late_changes_nothing(bench: StoreBench) -> None:
    (key,) = keys(Status.FAILED, bench, 1)
    found = bench.run(store(bench).failed("t", ALL, None, 10, Conditions()))
    assert bench.run(store(bench).retry_all("t", found.generations, LEASE_MS, Conditions())) == [key]
    bench.database.rows("UPDATE tasks SET status = 'failed', error_code = 'x', finished_at = 1")
    assert bench.run(store(bench).retry_all("t", found.generations, LEASE_MS, Conditions())) == [key]
    assert statuses(bench) == ["failed"]


def test_a_cancellation_that_lands_late_changes_nothing(bench: StoreBench) -> None:
    (key,) = keys(Status.PENDING, bench, 1)
    found = bench.run(store(bench).going_on_in("t", ALL, None, 10))
    assert bench.run(store(bench).cancel_all(found, None, RETENTION_MS)).task_keys == [key]
    assert bench.run(bench.store.retry(key, LEASE_MS)) is not None
    assert bench.run(store(bench).cancel_all(found, None, RETENTION_MS)).task_keys == []
    assert statuses(bench) == ["pending"]
    assert bench.run(bench.store.cancel(key, RETENTION_MS)).changed
    assert (
        bench.run(store(bench).cancel_all(found, None, RETENTION_MS)).task_keys == []
    )  # another client's cancellation


def test_a_cancellation_of_pending_tasks_spares_one_that_was_claimed_meanwhile(bench: StoreBench) -> None:
    (key,) = keys(Status.PENDING, bench, 1)
    found = bench.run(store(bench).going_on_in("t", ALL, Status.PENDING, 10))
    bench.claim(key)
    assert bench.run(store(bench).cancel_all(found, Status.PENDING, RETENTION_MS)).task_keys == []
    assert statuses(bench) == ["processing"]


def test_a_limit_that_was_reached_meanwhile_puts_nothing_back(bench: StoreBench) -> None:
    keys(Status.FAILED, bench, 3)
    on = Conditions(tasks_in_flight_most=3)
    found = bench.run(store(bench).failed("t", ALL, None, 10, on))
    assert (len(found.generations), found.unended) == (3, 0)
    bench.insert("t:999")
    assert bench.run(store(bench).retry_all("t", found.generations, LEASE_MS, on)) == []
    assert statuses(bench) == ["failed"] * 3 + ["pending"]
    assert bench.run(store(bench).retry_all("t", dict(list(found.generations.items())[:2]), LEASE_MS, on)) != []


def plan(bench: StoreBench, bound: Any) -> str:
    return "; ".join(row["detail"] for row in bench.database.rows(f"EXPLAIN QUERY PLAN {bound.sql}", *bound.values))


@pytest.mark.parametrize("write", ["RETRY_ALL", "CANCEL_ALL", "RETRIED", "CANCELLED"])
def test_writes_find_their_tasks_by_key(bench: StoreBench, write: str) -> None:
    statement = getattr(sql, write)
    values: dict[str, Any] = dict.fromkeys(statement.parameters, 1) | {"generations": '{"t:1": 0}'}
    found = plan(bench, statement.bind(**values))
    assert "SEARCH tasks USING PRIMARY KEY (id=?)" in found
    assert "SCAN tasks" not in found


def test_a_bulk_retry_counts_the_ends_that_it_takes_back(bench: StoreBench) -> None:
    for name in ("a", "b", "c"):
        bench.insert(name)
        fail(bench, name)
    tasks = {TaskKey("a"): 0, TaskKey("b"): 0}
    for _ in range(2):  # sent twice
        bench.run(store(bench).retry_all("", tasks, 0, UNCONDITIONAL))
    fold(bench)
    assert ended(bench) == {"failed": 3}
    bench.pass_ms(1)
    for name in ("a", "b"):
        fail(bench, name, calls_settled=5)
    fold(bench)
    assert ended(bench) == {"failed": 5}
    assert totals(bench)["calls"] == 3 * 4 + 2 * 2
