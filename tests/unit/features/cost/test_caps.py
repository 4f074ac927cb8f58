"""Caps of tasks and of months: no order of ends and deaths brings costs above them, and what is left is used."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from src.features.cost.gate import CallCosts, has_most
from src.features.cost.month import MonthRow, MonthStore
from src.kernel.calls.asking import sent_bytes
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import CapRefused, ModelTimeout, ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.prices import Price, written
from src.kernel.domain.task import Reduce, Status
from src.kernel.run.context import Ended, Lost, Released, RunOutcome
from src.kernel.run.log import Log
from src.kernel.store.claims import CallKey, Money, Unclaimed
from src.kernel.store.tallies import Tallies
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench

PRICE = Price(10**9, 10**9, 10**9, 1_000)  # A thousand billionths of a dollar a token.
TASK = TaskKey("task")


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(prices={"script-1": PRICE})
    yield made
    made.close()


def most() -> int:
    """Return what a call of the bench's tasks may cost at most. All their calls send the same number of bytes."""
    probe = new_task("task", 1, Reduce.CONCAT, START_MS)
    call = ModelCall(probe.instructions, probe.text[: probe.cuts[0]], "script-1")
    return PRICE.most(sent_bytes(call), None)


def columns(bench: WorkerBench) -> tuple[int, int, int]:
    (row,) = bench.database.rows("SELECT cost, cost_in_doubt, cost_out FROM tasks")
    return row["cost"], row["cost_in_doubt"], row["cost_out"]


def spending(bench: WorkerBench, cap: int) -> None:
    """Look at the row before each call: what is booked, in doubt and out is at most the cap."""
    infer = bench.model.infer

    async def look(call: ModelCall) -> ModelReply:
        assert sum(columns(bench)) <= cap
        return await infer(call)

    bench.model.infer = look  # type: ignore[method-assign]


@pytest.mark.parametrize("lanes", [False, True])
def test_a_wave_is_as_large_as_the_cap_allows(bench: WorkerBench, *, lanes: bool) -> None:
    cap = 3 * most()
    spending(bench, cap)
    bench.insert(12, max_cost=cap)
    assert bench.run(bench.laned_host() if lanes else HOST) == Ended(Status.COMPLETED)
    assert max(len([at for at, _ in bench.model.calls if at == one]) for one, _ in bench.model.calls) == 3
    assert columns(bench) == (12 * PRICE.cost(10, 5), 0, 0)


def test_what_is_left_is_used_and_then_the_task_ends(bench: WorkerBench) -> None:
    cap = 4 * most() + 1
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)
    bench.insert(12, max_cost=cap)
    assert bench.run() == Ended(Status.FAILED)
    assert (bench.failure.code, bench.task().completed) == ("cost_exhausted", 4)
    assert columns(bench) == (4 * most(), 0, 0)


def test_a_retry_with_a_higher_cap_goes_on(bench: WorkerBench) -> None:
    bench.model.act = lambda call, number: ModelReply("x", 0, 0)
    bench.insert(6, max_cost=4 * most())
    bench.run()
    for refused in (None, 4 * most()):
        assert bench.do(bench.store.retry(TASK, 1_000, max_cost=refused)) is None
    assert bench.do(bench.store.retry(TASK, 1_000, max_cost=6 * most())) is not None
    assert bench.run() == Ended(Status.COMPLETED)
    assert (len(bench.model.calls), columns(bench)) == (6, (6 * most(), 0, 0))


def test_doubt_counts_at_its_most(bench: WorkerBench) -> None:
    """A call without an answer counts against the cap at its most, whether its worker died or it timed out."""
    bench.insert(6, max_cost=5 * most())

    async def die() -> None:
        run = asyncio.ensure_future(bench.worker().run(TASK, HOST))
        await asyncio.sleep(0.5)
        run.cancel()

    bench.do(die())
    assert columns(bench) == (0, 0, 5 * most())
    bench.do(asyncio.sleep(600))
    assert bench.run() == Ended(Status.FAILED)
    assert columns(bench) == (0, 5 * most(), 0)
    assert len(bench.model.calls) == 5


def test_the_end_names_the_last_failed_call(bench: WorkerBench) -> None:
    timeout = ModelTimeout("no answer in time")
    bench.model.act = lambda call, number: timeout
    bench.insert(1, max_cost=most())
    assert bench.run() == Ended(Status.FAILED)
    assert bench.failure.message.endswith("; the last call failed with model_timeout: no answer in time")


def test_nothing_stays_reserved(bench: WorkerBench) -> None:
    """Errors of the provider cost nothing: a cap of three answers and one call carries a task through them."""
    bench.model.act = lambda call, number: ModelUnavailable() if number % 3 == 0 else None
    bench.insert(4, max_cost=most() + 3 * PRICE.cost(10, 5))
    while isinstance(bench.run(), Released):
        bench.do(asyncio.sleep(60))
    assert (bench.task().status, columns(bench)[1:]) == (Status.COMPLETED, (0, 0))


def test_a_price_that_is_gone_lets_the_task_wait(bench: WorkerBench) -> None:
    bench.insert(3, max_cost=9 * most())
    bench.settings = WorkerBench().settings
    outcome = bench.run()
    assert isinstance(outcome, Released)
    waits = bench.task().waiting_for
    assert waits is not None
    assert (waits.reason, len(bench.model.calls)) == ("cost_limit", 0)
    bench.do(asyncio.sleep(outcome.delay_seconds))
    bench.settings = WorkerBench(prices={"script-1": PRICE}).settings
    assert bench.run() == Ended(Status.COMPLETED)


CALL = ModelCall("", "x", "script-1")
MOST = PRICE.most(sent_bytes(CALL), None)


def test_counts_above_the_most_are_booked_whole() -> None:
    """A server that reports more than a call could cost is the one way past a cap. It is logged, and no call starts."""
    lines: list[str] = []
    bill = CallCosts(Money(), {"script-1": PRICE}, 3 * MOST, log=Log(lines.append))
    assert bill.within([CallKey(0, 0)], (), lambda key: CALL) == [CallKey(0, 0)]
    bill.ended(CallKey(0, 0), ModelReply("x", 10**6, 10**6))
    (line,) = map(json.loads, lines)
    assert (line["event"], line["cost"]) == ("cost_above_most", written(PRICE.cost(10**6, 10**6)))
    assert bill.totals(()).booked == PRICE.cost(10**6, 10**6)
    assert bill.within([CallKey(0, 1)], (), lambda key: CALL) == []
    assert bill.failure is not None


def test_calls_that_were_not_announced_after_all_are_forgotten() -> None:
    """A wave that was refused for lack of space reserves nothing for the next one."""
    bill, keys = CallCosts(Money(), {"script-1": PRICE}, 2 * MOST), [CallKey(0, at) for at in range(3)]
    for _ in range(3):
        assert bill.within(keys, (), lambda key: CALL) == keys[:2]
    assert bill.within(keys[2:], keys[:2], lambda key: CALL) == []
    bill.ended(keys[0], ModelTimeout())
    bill.abandoned(keys[1:2])
    assert bill.totals(()) == Money(0, 2 * MOST)


ELSEWHERE: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "input_image", "image_url": "https://example.com/a.png"},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "input_file", "file_url": "https://example.com/a.pdf"},
]


@pytest.mark.parametrize("part", ELSEWHERE)
def test_content_elsewhere_has_no_most(part: dict[str, Any]) -> None:
    """Content by its URL or id is not in the call, so its bytes say nothing. A data URL is in the call."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "url"}, part]}]}
    assert not has_most(PRICE, 5, body)
    assert has_most(PRICE, 5, {"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,AA"}}]}]})
    assert not has_most(PRICE._replace(max_output=None), None, {})


ONE, OTHER = TaskKey("acme:1"), TaskKey("acme:2")


class MonthBench(WorkerBench):
    """A bench with two tasks of the tenant acme, and after each write a comparison of its sums with those tasks."""

    def __init__(self) -> None:
        super().__init__(prices={"script-1": PRICE})
        self.months = self.store.beside(MonthStore)

    def cap(self, month_most: int | None) -> None:
        self.do(self.months.set("acme", month_most))

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
def monthly() -> Iterator[MonthBench]:
    made = MonthBench()
    yield made
    made.close()


def test_calls_of_all_tasks_count_and_the_wave_is_as_large_as_the_month_allows(monthly: MonthBench) -> None:
    monthly.cap(3 * most())
    infer = monthly.model.infer

    async def look(call: ModelCall) -> ModelReply:
        (row,) = monthly.database.rows(
            "SELECT month_booked + month_doubted + month_out AS all_of_it FROM tenant_limits"
        )
        assert row["all_of_it"] <= 3 * most()
        return await infer(call)

    monthly.model.infer = look  # type: ignore[method-assign]
    for key in (ONE, OTHER):
        monthly.add(key, 6)
    run = monthly.start(ONE)
    assert monthly.month().out == 3 * most()
    assert isinstance(monthly.work(OTHER), Released), "the other's calls are out"
    assert monthly.do(run) == Ended(Status.COMPLETED)
    monthly.do(asyncio.sleep(10))
    assert monthly.work(OTHER) == Ended(Status.COMPLETED)
    monthly.agree()
    assert monthly.month()[1:4] == (12 * PRICE.cost(10, 5), 0, 0)


def test_a_used_up_month_lets_tasks_wait_for_the_next_one(monthly: MonthBench) -> None:
    monthly.model.act = lambda call, number: ModelReply("x", 0, 0)  # each call costs its most
    monthly.cap(4 * most())
    monthly.add(ONE, 6)
    assert monthly.work(ONE) == Lost(), "the sweep continues the task"
    task, left_ms = monthly.do(monthly.store.task(ONE)), monthly.month().left_ms
    assert (task.completed, task.waiting_for.reason) == (4, "cost_limit")
    unclaimed = monthly.work(ONE)
    assert isinstance(unclaimed, Unclaimed)
    assert 0 <= unclaimed.left_ms - left_ms <= 240_000
    monthly.do(asyncio.sleep(unclaimed.left_ms / 1000))
    assert monthly.month()[1:4] == (0, 0, 0)
    assert monthly.work(ONE) == Ended(Status.COMPLETED)
    assert monthly.month()[1:4] == (2 * most(), 0, 0)


def test_a_higher_cap_wakes_the_tasks(monthly: MonthBench) -> None:
    monthly.model.act = lambda call, number: ModelReply("x", 0, 0)
    monthly.cap(2 * most())
    monthly.add(ONE, 4)
    monthly.work(ONE)
    store = monthly.months
    _, waking = monthly.do(store.set("acme", 4 * most()))
    assert waking.task_keys == [ONE]
    assert monthly.do(store.wake(waking)) is False
    assert monthly.do(store.waking()) is None
    assert monthly.work(ONE) == Ended(Status.COMPLETED)
    monthly.agree()


@pytest.mark.parametrize("cap", [10**12, None])
def test_a_cap_that_changes_while_a_task_is_released_is_not_slept_through(monthly: MonthBench, cap: int | None) -> None:
    """The release compares the cap with the one that was looked at."""
    monthly.model.act = lambda call, number: ModelReply("x", 0, 0)
    monthly.cap(2 * most())
    monthly.add(ONE, 4)
    read, store = MonthStore.read, monthly.months

    async def then_change(self: MonthStore, tenant: str) -> MonthRow | None:
        found = await read(self, tenant)
        if found is not None and found.booked == 2 * most():
            await store.set("acme", cap)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MonthStore, "read", then_change)
        monthly.work(ONE)
    assert monthly.work(ONE) == Ended(Status.COMPLETED)


def test_a_cap_in_mid_month_counts_what_is_out_and_stops_a_claim_from_before(monthly: MonthBench) -> None:
    """A claim from before the cap announces no further wave; its calls that are out count, and the task goes on."""
    monthly.settings = WorkerBench(prices={"script-1": PRICE}, concurrency=2).settings
    monthly.add(ONE, 5)
    run = monthly.start(ONE)
    monthly.cap(10**12)
    assert monthly.month()[1:4] == (0, 0, 2 * most())
    assert monthly.do(run) == Released(0.0)
    assert len(monthly.events("cost_limit")) == 1
    assert monthly.month()[1:4] == (2 * PRICE.cost(10, 5), 0, 0)
    assert monthly.work(ONE) == Ended(Status.COMPLETED)
    monthly.agree()


@pytest.mark.parametrize("end", ["erase", "takeover", "cancel"])
def test_what_a_dead_worker_had_out_is_booked_at_its_most(monthly: MonthBench, end: str) -> None:
    """Erasure books it at once; it lowers no sum."""
    monthly.cap(10**12)
    monthly.add(ONE, 2)
    monthly.start(ONE).cancel()
    monthly.do(asyncio.sleep(600))
    if end == "erase":
        monthly.do(monthly.store.erase(ONE))
        assert monthly.month()[1:4] == (0, 2 * most(), 0)
    elif end == "takeover":
        monthly.work(ONE)
        assert monthly.month()[1:4] == (2 * PRICE.cost(10, 5), 2 * most(), 0)
    else:
        monthly.do(monthly.store.cancel(ONE, 10**9))
        assert monthly.month().out == 2 * most()
        tallies = monthly.store.beside(Tallies)
        monthly.do(tallies.fold(monthly.do(tallies.foldable([10**9], 10, 1_000)), 10))
        assert monthly.month()[1:4] == (0, 2 * most(), 0)


def test_a_submission_that_does_not_fit_is_refused(monthly: MonthBench) -> None:
    """What is out counts not: the task may wait. A task without a price is refused. A cap that is gone refuses none."""
    monthly.cap(2 * most())
    monthly.add(ONE, 2, first_most=2 * most())
    monthly.start(ONE)
    monthly.add(OTHER, 1, first_most=2 * most())
    for amount, lacks_price in ((2 * most() + 1, False), (-1, True)):
        with pytest.raises(CapRefused) as refused:
            monthly.add(TaskKey("acme:3"), 1, first_most=amount)
        assert refused.value.lacks_price == lacks_price
    monthly.add(TaskKey("acme:4"), 1, first_most=0)
    monthly.add(TaskKey("other:1"), 1, first_most=-1)
    monthly.cap(None)
    monthly.add(TaskKey("acme:3"), 1, first_most=-1)


def test_a_model_without_a_price_waits_under_a_cap(monthly: MonthBench) -> None:
    """The claim announces no call either, which it would for a model without a price."""
    monthly.cap(10**12)
    monthly.add(ONE, 2)
    monthly.settings = WorkerBench().settings
    assert isinstance(monthly.work(ONE), Released)
    assert (monthly.model.calls, monthly.do(monthly.store.task(ONE)).waiting_for.reason) == ([], "cost_limit")


def test_without_a_cap_nothing_is_written(monthly: MonthBench) -> None:
    """The triggers are there once a tenant has a cap. Other tenants' tasks write no row more."""
    written = []
    for key in (ONE, OTHER, TaskKey("acme:3")):
        monthly.add(key, 3)
        assert monthly.work(key) == Ended(Status.COMPLETED)
        written.append(monthly.events("run_ended")[-1]["rows_written"])
        if key == OTHER:  # the first run has written a heartbeat, too
            monthly.do(monthly.months.set("other", 10**12))
    assert written[1] == written[2]
