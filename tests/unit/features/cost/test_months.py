"""A tenant's cap for its month: no write brings the tenant above it, and its sums are those of its tasks."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from src.features.cost.month import MonthRow, MonthStore
from src.kernel.calls.asking import sent_bytes
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import CapRefused
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.prices import Price
from src.kernel.domain.task import Reduce, Status
from src.kernel.run.context import Ended, Lost, Released, RunOutcome
from src.kernel.store.claims import Unclaimed
from src.kernel.store.tallies import Tallies
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench

PRICE = Price(10**9, 10**9, 10**9, 1_000)
ONE, OTHER = TaskKey("acme:1"), TaskKey("acme:2")


class MonthBench(WorkerBench):
    """A bench with two tasks of the tenant acme, and after each write a comparison of its sums with those tasks."""

    def __init__(self) -> None:
        super().__init__(prices={"script-1": PRICE})
        self.months = self.store.beside(MonthStore)

    def cap(self, most: int | None) -> None:
        self.do(self.months.set("acme", most))

    def month(self) -> MonthRow:
        found = self.do(self.months.read("acme"))
        assert isinstance(found, MonthRow)
        return found

    def add(self, key: TaskKey, chunks: int, first_most: int | None = None) -> None:
        new = replace(new_task(key, chunks, Reduce.CONCAT, START_MS), first_most=first_most)
        self.do(self.store.insert(new, self.settings.lease_ms))

    def work(self, key: TaskKey) -> RunOutcome:
        return self.do(self.worker().run(key, HOST))

    def start(self, key: TaskKey) -> asyncio.Future[RunOutcome]:
        """Begin to work on a task, until its first calls are out."""
        run = asyncio.ensure_future(self.worker().run(key, HOST), loop=self.loop)
        self.do(asyncio.sleep(0.5))
        return run

    def agree(self) -> None:
        """The sums are those of the tasks: settled or in doubt, and out."""
        (row,) = self.database.rows(
            "SELECT sum(coalesce(cost, 0)) AS cost, sum(cost_in_doubt) AS doubt, sum(cost_out) AS out FROM tasks"
        )
        month = self.month()
        assert (month.booked, month.doubted, month.out) == (row["cost"] or 0, row["doubt"] or 0, row["out"] or 0)


@pytest.fixture
def bench() -> Iterator[MonthBench]:
    made = MonthBench()
    yield made
    made.close()


def most(chunks: int = 1) -> int:
    probe = new_task("task", chunks, Reduce.CONCAT, START_MS)
    return PRICE.most(sent_bytes(ModelCall(probe.instructions, probe.text[: probe.cuts[0]], "script-1")), None)


def test_calls_of_all_tasks_count_and_the_wave_is_as_large_as_the_month_allows(bench: MonthBench) -> None:
    """Two tasks share a cap of three calls at their most: never more are out, and both complete."""
    bench.cap(3 * most())
    infer = bench.model.infer

    async def look(call: ModelCall) -> ModelReply:
        (row,) = bench.database.rows("SELECT month_booked + month_doubted + month_out AS all_of_it FROM tenant_limits")
        assert row["all_of_it"] <= 3 * most()
        return await infer(call)

    bench.model.infer = look  # type: ignore[method-assign]
    for key in (ONE, OTHER):
        bench.add(key, 6)
    run = bench.start(ONE)
    assert bench.month().out == 3 * most()
    assert isinstance(bench.work(OTHER), Released), "the other's calls are out"
    assert bench.do(run) == Ended(Status.COMPLETED)
    bench.do(asyncio.sleep(10))
    assert bench.work(OTHER) == Ended(Status.COMPLETED)
    bench.agree()
    assert bench.month()[1:4] == (12 * PRICE.cost(10, 5), 0, 0)


def test_a_used_up_month_lets_tasks_wait_for_the_next_one(bench: MonthBench) -> None:
    """The task says why it waits, and until when. Nothing is written in between, and the next month begins at zero."""
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)  # each call costs its most
    bench.cap(4 * most())
    bench.add(ONE, 6)
    assert bench.work(ONE) == Lost(), "the sweep continues the task"
    task, left_ms = bench.do(bench.store.task(ONE)), bench.month().left_ms
    assert (task.completed, task.waiting_for.reason) == (4, "cost_limit")
    unclaimed = bench.work(ONE)
    assert isinstance(unclaimed, Unclaimed)
    assert 0 <= unclaimed.left_ms - left_ms <= 240_000
    bench.do(asyncio.sleep(unclaimed.left_ms / 1000))
    assert bench.month()[1:4] == (0, 0, 0)
    assert bench.work(ONE) == Ended(Status.COMPLETED)
    assert bench.month()[1:4] == (2 * most(), 0, 0)


def test_a_higher_cap_wakes_the_tasks(bench: MonthBench) -> None:
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)
    bench.cap(2 * most())
    bench.add(ONE, 4)
    bench.work(ONE)
    store = bench.months
    _, waking = bench.do(store.set("acme", 4 * most()))
    assert waking.task_keys == [ONE]
    assert bench.do(store.wake(waking)) is False
    assert bench.do(store.waking()) is None
    assert bench.work(ONE) == Ended(Status.COMPLETED)
    bench.agree()


@pytest.mark.parametrize("cap", [10**12, None])
def test_a_cap_that_changes_while_a_task_is_released_is_not_slept_through(bench: MonthBench, cap: int | None) -> None:
    """The release compares the cap with the one that was looked at."""
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)
    bench.cap(2 * most())
    bench.add(ONE, 4)
    read, store = MonthStore.read, bench.months

    async def then_change(self: MonthStore, tenant: str) -> MonthRow | None:
        found = await read(self, tenant)
        if found is not None and found.booked == 2 * most():
            await store.set("acme", cap)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MonthStore, "read", then_change)
        bench.work(ONE)
    assert bench.work(ONE) == Ended(Status.COMPLETED)


def test_a_cap_in_mid_month_counts_what_is_out_and_stops_a_claim_from_before(bench: MonthBench) -> None:
    """A claim from before the cap announces no further wave; its calls that are out count, and the task goes on."""
    bench.settings = WorkerBench(prices={"script-1": PRICE}, concurrency=2).settings
    bench.add(ONE, 5)
    run = bench.start(ONE)
    bench.cap(10**12)
    assert bench.month()[1:4] == (0, 0, 2 * most())
    assert bench.do(run) == Released(0.0)
    assert bench.month()[1:4] == (2 * PRICE.cost(10, 5), 0, 0)
    assert bench.work(ONE) == Ended(Status.COMPLETED)
    bench.agree()


@pytest.mark.parametrize("end", ["erase", "takeover", "cancel"])
def test_what_a_dead_worker_had_out_is_booked_at_its_most(bench: MonthBench, end: str) -> None:
    """Erasure books it at once; it lowers no sum."""
    bench.cap(10**12)
    bench.add(ONE, 2)
    bench.start(ONE).cancel()
    bench.do(asyncio.sleep(600))
    if end == "erase":
        bench.do(bench.store.erase(ONE))
        assert bench.month()[1:4] == (0, 2 * most(), 0)
    elif end == "takeover":
        bench.work(ONE)
        assert bench.month()[1:4] == (2 * PRICE.cost(10, 5), 2 * most(), 0)
    else:
        bench.do(bench.store.cancel(ONE, 10**9))
        assert bench.month().out == 2 * most()
        tallies = bench.store.beside(Tallies)
        bench.do(tallies.fold(bench.do(tallies.foldable([10**9], 10, 1_000)), 10))
        assert bench.month()[1:4] == (0, 2 * most(), 0)


def test_a_submission_that_does_not_fit_is_refused(bench: MonthBench) -> None:
    """What is out counts not: the task may wait. A task without a price is refused. A cap that is gone refuses none."""
    bench.cap(2 * most())
    bench.add(ONE, 2, first_most=2 * most())
    bench.start(ONE)
    bench.add(OTHER, 1, first_most=2 * most())
    for amount, lacks_price in ((2 * most() + 1, False), (-1, True)):
        with pytest.raises(CapRefused) as refused:
            bench.add(TaskKey("acme:3"), 1, first_most=amount)
        assert refused.value.lacks_price == lacks_price
    bench.add(TaskKey("other:1"), 1, first_most=-1)
    bench.cap(None)
    bench.add(TaskKey("acme:3"), 1, first_most=-1)


def test_a_model_without_a_price_waits_under_a_cap(bench: MonthBench) -> None:
    """The claim announces no call either, which it would for a model without a price."""
    bench.cap(10**12)
    bench.add(ONE, 2)
    bench.settings = WorkerBench().settings
    assert isinstance(bench.work(ONE), Released)
    assert (bench.model.calls, bench.do(bench.store.task(ONE)).waiting_for.reason) == ([], "cost_limit")


def test_without_a_cap_nothing_is_written(bench: MonthBench) -> None:
    """The triggers are there once a tenant has a cap. Other tenants' tasks write no row more."""
    written = []
    for key in (ONE, OTHER, TaskKey("acme:3")):
        bench.add(key, 3)
        assert bench.work(key) == Ended(Status.COMPLETED)
        written.append(bench.events("run_ended")[-1]["rows_written"])
        if key == OTHER:  # the first run has written a heartbeat, too
            bench.do(bench.months.set("other", 10**12))
    assert written[1] == written[2]
