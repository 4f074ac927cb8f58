"""The worker of a task in virtual time: slices, waits, crashes, outages and merges, with a scripted model."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from src.kernel.calls.pace import rests
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelError, ModelRateLimited, ModelRefused, ModelUnavailable, StoreUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import BUDGET_EXHAUSTED, DEADLINE_EXCEEDED, Reduce, Route, Status, TaskOptions
from src.kernel.run.context import Ended, Released, RunOutcome
from src.kernel.store.claims import Claim, ClaimRefusal, Unclaimed
from src.kernel.store.tasks import TaskStore
from src.kernel.work.worker import Host
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench


@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("own", [9, None])
def test_every_call_asks_what_the_task_asks(make, own: int | None, lanes: bool):
    bench = make(max_output_tokens=70)
    asked = TaskOptions(reduce=Reduce.MERGE, max_output_tokens=own, temperature=0.5, model_options={"seed": 1})
    task = new_task("task", 2, Reduce.MERGE, START_MS)
    bench.do(bench.store.insert(replace(task, options=asked), bench.settings.lease_ms))
    assert bench.run(bench.laned_host() if lanes else HOST) == Ended(Status.COMPLETED)
    calls = [(call.max_output_tokens, call.temperature, call.options) for _, call in bench.model.calls]
    assert calls == [(own or 70, 0.5, {"seed": 1})] * 3


def test_a_task_costs_a_call_a_chunk_and_few_writes(make):
    bench = make()
    bench.insert(20)
    before = bench.database.batches
    assert bench.run() == Ended(Status.COMPLETED)
    # The claim announces the first group of calls, and each of the four groups ends with one write.
    assert bench.database.batches - before == 1 + 4
    assert [at for at, _ in bench.model.calls] == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 2
    task = bench.task()
    assert (task.usage.model_calls, task.usage.input_tokens, task.usage.output_tokens) == (20, 200, 100)
    assert task.result == "\n\n".join(["<x>"] * 20)


@pytest.mark.parametrize("route", [Route.QUEUE, Route.DIRECT])
def test_a_wave_that_does_not_fit_is_left_to_the_next_run(make, route: Route):
    """On the free plan a task of 200 chunks takes 34 waves of six calls in seven runs on the queue's route."""
    bench = make()
    bench.settings = replace(bench.settings, plan="free")
    bench.insert(200)
    host = HOST._replace(route=route)
    outcomes = [bench.run(host)]
    while outcomes[-1] == Released(0.0):
        outcomes.append(bench.run(host))
    assert outcomes[-1] == Ended(Status.COMPLETED)
    waves = [len(list(calls)) for _, calls in groupby(at for at, _ in bench.model.calls)]
    whole = [6] * 33 + [2]
    assert (sum(waves), len(outcomes), waves == whole) == (200, 7 if route is Route.QUEUE else 6, route is Route.QUEUE)


def test_every_call_is_announced_before_it_is_made(make):
    bench = make()
    bench.insert(9)

    def look(call: ModelCall, number: int) -> None:
        (row,) = bench.database.rows("SELECT in_flight, calls_settled FROM tasks")
        assert len(json.loads(row["in_flight"])) + row["calls_settled"] >= number

    infer = bench.model.infer

    async def announced(call: ModelCall) -> ModelReply:
        look(call, len(bench.model.calls) + 1)
        return await infer(call)

    bench.model.infer = announced
    assert bench.run() == Ended(Status.COMPLETED)


def test_a_slice_stays_within_its_subrequests(make):
    bench = make()
    bench.settings = Settings(plan="free")
    bench.insert(100)
    # Calls that end one after the other cost most, since each may need a write of its own.
    bench.model.seconds = lambda number: 1.0 + number % 7
    runs = 0
    while bench.run() != Ended(Status.COMPLETED):
        runs += 1
        assert bench.task().status is Status.PENDING
    assert all(line["subrequests"] <= 45 for line in bench.events("run_ended"))
    assert 3 <= runs <= 6
    assert len(bench.model.calls) == 100 == bench.task().usage.model_calls
    assert bench.task().attempts == 1


def test_a_slice_stays_within_its_seconds(make):
    bench = make()
    bench.insert(20)
    assert bench.run(Host(Route.QUEUE, 1.5)) == Released(0)
    assert (bench.task().completed, len(bench.model.calls)) == (12, 12)


def test_a_short_rate_limit_is_sat_out_and_a_long_one_given_back(make):
    bench = make(max_attempts=1)
    bench.insert(2)
    bench.model.act = lambda call, number: ModelRateLimited("429", 20) if number == 1 else None
    assert bench.run() == Ended(Status.COMPLETED)
    assert bench.model.calls[-1][0] >= 21
    other = make(max_attempts=1)
    other.insert(2)
    other.model.act = lambda call, number: ModelRateLimited("429", 600) if number <= 2 else None
    assert other.run() == Released(600)
    assert other.run() == Unclaimed(ClaimRefusal.EARLY, 600_000)
    assert len(other.model.calls) == 2
    other.do(asyncio.sleep(600))
    assert other.run() == Ended(Status.COMPLETED)
    assert len(other.model.calls) == 4 == other.task().usage.model_calls


def test_a_rate_limit_that_asks_for_no_time_makes_no_storm(make):
    bench = make()
    bench.insert(12)
    bench.model.seconds = lambda number: 0.05
    bench.model.act = lambda call, number: ModelRateLimited("429", 0.0) if bench.loop.time() < 30 else None
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) < 12 + 6 * 10


def test_a_poison_task_ends(make):
    """It fails after MAX_ATTEMPTS deaths, and ten minutes at least."""
    bench = make(lease_seconds=180, max_attempts=3)
    bench.insert(9)
    for starts, width in ((0, 6), (180, 3), (500, 1)):
        while isinstance(unclaimed := kill_soon(bench), Unclaimed):
            assert unclaimed.left_ms > 0
            bench.do(asyncio.sleep(unclaimed.left_ms / 1000))
        assert bench.loop.time() == pytest.approx(starts, abs=2)
        assert len([at for at, _ in bench.model.calls if at >= starts]) == width
    bench.do(asyncio.sleep(179))
    assert bench.run() == Unclaimed(ClaimRefusal.HELD, 500)
    bench.do(asyncio.sleep(1))
    assert bench.loop.time() > limits.STALL_SECONDS_LEAST
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert (bench.failure.code, bench.failure.retryable) == ("worker_crashed", True)
    assert (task.usage.model_calls, task.usage.in_doubt, task.attempts) == (10, 10, 4)


def kill_soon(bench: WorkerBench) -> RunOutcome | None:
    """Begin a run, and kill its worker half a second later, unless the run has ended by then."""
    run = bench.loop.create_task(bench.worker().run(TaskKey("task"), HOST))
    bench.do(asyncio.sleep(0.5))
    if run.done():
        return run.result()
    run.cancel()  # no await of the worker runs after this, so it counts as killed
    return None


def test_after_a_finished_call_a_claim_is_as_wide_as_usual(make):
    bench = make(lease_seconds=180)
    bench.insert(20)
    kill_soon(bench)
    bench.do(asyncio.sleep(180))
    assert bench.run() == Ended(Status.COMPLETED)
    starts = [at for at, _ in bench.model.calls[6:]]
    assert [starts.count(at) for at in sorted(set(starts))] == [3, 6, 6, 5]


def test_a_worker_that_dies_after_a_finished_call_is_no_stall(make):
    bench = make(lease_seconds=180, max_attempts=2)
    bench.insert(6)
    bench.model.seconds = lambda number: 0.1 if number in {1, 7, 12, 16, 19} else 100.0
    for _ in range(5):
        assert kill_soon(bench) is None
        bench.do(asyncio.sleep(180))
    bench.model.seconds = lambda number: 1.0
    assert bench.run() == Ended(Status.COMPLETED)


def test_an_unexpected_error_gives_the_task_back_and_counts_towards_the_end(make):
    """It is raised, and the task given back, at once and then after longer rests."""
    bench = make()
    bench.insert(2)
    bench.model.act = lambda call, number: ValueError("a bug")
    for rest_seconds in (0, 498, 98):
        with pytest.raises(ValueError, match="a bug"):
            bench.run()
        assert bench.task().status is Status.PENDING
        assert rest_seconds == 0 or bench.run() == Unclaimed(ClaimRefusal.EARLY, rest_seconds * 1000)
        bench.do(asyncio.sleep(rest_seconds + 1))
    assert bench.loop.time() > limits.STALL_SECONDS_LEAST
    assert bench.run() == Ended(Status.FAILED)
    assert bench.task().usage.in_doubt >= 3


def test_an_outage_beyond_the_lease_ends_the_run(make):
    bench = make(timeout_seconds=5, lease_seconds=10)
    bench.insert(2)
    bench.model.act = lambda call, number: bench.database.fail(NETWORK_LOST, times=10_000) if number == 1 else None
    with pytest.raises(StoreUnavailable):
        bench.run()
    bench.database.heal()
    bench.do(asyncio.sleep(10))
    assert bench.run() == Ended(Status.COMPLETED)
    assert (bench.task().usage.model_calls, bench.task().usage.in_doubt) == (4, 2)


def test_a_merge_goes_on_where_it_was(make):
    bench = make()
    bench.insert(40, Reduce.MERGE)
    bench.model.act = lambda call, number: "y" * 600
    outcomes = [bench.run(Host(Route.QUEUE, 0.5))]
    while outcomes[-1] != Ended(Status.COMPLETED):
        outcomes.append(bench.run(Host(Route.QUEUE, 0.5)))
    # A merge call has room for three outputs of 600 characters, so the levels have 40, 13, 4 and 1 outputs.
    assert len(bench.model.calls) == 40 + 13 + 4 + 1 == bench.task().usage.minimum_calls
    assert bench.task().result == "y" * 600


def at_the_read(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Make D1 unreachable when a worker first reads outputs for a merge."""
    read, outages = TaskStore.level_sizes, [times]

    async def failing(store: TaskStore, task_key: TaskKey, level: int) -> Mapping[int, int]:
        if outages:
            bench.database.fail(NETWORK_LOST, times=outages.pop())
        return await read(store, task_key, level)

    monkeypatch.setattr(TaskStore, "level_sizes", failing)


def test_a_merge_outlasts_an_outage_at_its_read(make, monkeypatch: pytest.MonkeyPatch):
    bench = make()
    bench.insert(12, Reduce.MERGE)
    assert isinstance(bench.run(Host(Route.QUEUE, 0.5)), Released)
    at_the_read(bench, monkeypatch, times=20)
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 12 + 1 == bench.task().usage.model_calls
    assert len(bench.events("store_unavailable")) > 3
    assert bench.task().usage.in_doubt == 0


def test_what_is_paid_for_is_saved_before_a_merge_reads(make, monkeypatch: pytest.MonkeyPatch):
    """A worker saves its outputs before it reads for a merge, so none is lost if D1 then stays away."""
    bench = make(timeout_seconds=5, lease_seconds=10)
    bench.insert(12, Reduce.MERGE)
    assert isinstance(bench.run(Host(Route.QUEUE, 0.5)), Released)
    at_the_read(bench, monkeypatch, times=10_000)
    before = bench.loop.time()
    with pytest.raises(StoreUnavailable):
        bench.run()
    # The model calls take one second, and the rest of the time is the lease that the last save renewed.
    assert 5 < bench.loop.time() - before < 1 + 10
    bench.database.heal()
    assert (bench.task().completed, bench.task().usage.in_doubt) == (12, 0)
    bench.do(asyncio.sleep(10))
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 12 + 1 == bench.task().usage.model_calls


def test_only_a_merge_that_must_read_costs_more_writes(make):
    """A merge in one run reads no outputs, and saves them with its next announcement."""
    bench, other = make(), make()
    for made in (bench, other):
        made.insert(12, Reduce.MERGE)
    before = bench.database.batches
    assert bench.run() == Ended(Status.COMPLETED)
    # The D1 calls are the claim, and one for the end of each group of six calls and of the merge.
    assert bench.database.batches - before == 1 + 3
    assert isinstance(other.run(Host(Route.QUEUE, 0.5)), Released)
    before = other.database.batches
    assert other.run() == Ended(Status.COMPLETED)
    # The D1 calls are the claim, an announcement, the save, two reads, an announcement, and the end.
    assert other.database.batches - before == 1 + 1 + 1 + 2 + 1 + 1


def test_a_run_whose_lanes_all_fall_silent_gives_the_task_back(make):
    bench = make()
    bench.insert(12)
    bench.model.seconds = lambda number: 1e6
    outcome = bench.run(bench.laned_host())
    assert isinstance(outcome, Released)
    assert outcome.delay_seconds > 0
    assert (len(bench.model.calls), bench.task().usage.in_doubt) == (12, 12)


def second_message(bench: WorkerBench, host: Host, seconds: float) -> tuple[RunOutcome, RunOutcome]:
    async def both() -> tuple[RunOutcome, RunOutcome]:
        first = asyncio.ensure_future(bench.worker().run(TaskKey("task"), host))
        await asyncio.sleep(seconds)
        return await bench.worker().run(TaskKey("task"), HOST), await first

    return bench.do(both())


def test_a_claim_outlasts_its_calls_whatever_the_lease(make):
    """While a worker's calls are out, its claim lasts, even if LEASE_SECONDS is only a second more than the timeout."""
    bench = make(timeout_seconds=120, lease_seconds=121, patience_seconds=0)
    bench.insert(6)
    bench.model.seconds = lambda number: 119.9 if number == 1 else 1.0 if number > 6 else 1e6
    batch = bench.database.batch

    async def slow(statements: Any) -> Any:
        bench.database.batch = batch
        result = await batch(statements)
        await asyncio.sleep(1.9)
        return result

    bench.database.batch = slow
    second, first = second_message(bench, HOST, 121.85)
    assert isinstance(second, Unclaimed)
    assert (second.standing, first) == (ClaimRefusal.HELD, Ended(Status.COMPLETED))
    usage = bench.task().usage
    assert (usage.model_calls, usage.in_doubt) == (len(bench.model.calls), 5)  # those that timed out


def test_a_failure_for_good_is_the_reason_whoever_dies_after_it(make):
    bench = make(max_attempts=3)
    bench.insert(2)
    bench.model.seconds = lambda number: 0.1 if number == 1 else 50.0
    bench.model.act = lambda call, number: ModelRefused("401")
    assert kill_soon(bench) is None
    for number in range(3):
        bench.do(asyncio.sleep(600))
        lease_ms, holder = bench.settings.lease_ms, f"dead-{number}"
        claimed = bench.store.claim(
            TaskKey("task"), holder=holder, host="", route=Route.QUEUE, lease_ms=lease_ms, rests=rests(3)
        )
        assert isinstance(bench.do(claimed), Claim)
    bench.do(asyncio.sleep(600))
    assert bench.run() == Ended(Status.FAILED)
    assert (code(bench), len(bench.model.calls)) == ("model_refused", 2)


def code(bench: WorkerBench) -> str | None:
    failure = bench.task().failure
    return None if failure is None else failure.code


def retry(bench: WorkerBench) -> None:
    assert bench.do(bench.store.retry(TaskKey("task"), bench.settings.lease_ms)) is not None


def test_an_end_with_calls_out_is_one_write(make):
    bench = make()
    bench.insert(2, deadline_ms=2_500)
    bench.model.seconds = lambda number: 50.0
    before = bench.database.batches
    assert bench.run() == Ended(Status.FAILED)
    # The claim includes the announcement, and the write of the end includes the bill.
    assert bench.database.batches - before == 2
    usage = bench.task().usage
    assert (usage.model_calls, usage.in_doubt) == (2, 2)


def test_nobody_waits_for_company_beyond_the_deadline(make):
    """In this test a slow call ends shortly before the deadline, while another one is out."""
    bench = make()
    bench.insert(2, deadline_ms=10_000)
    bench.model.seconds = lambda number: 9.5 if number == 1 else 50.0
    assert bench.run() == Ended(Status.FAILED)
    assert (code(bench), bench.task().completed, bench.loop.time()) == (DEADLINE_EXCEEDED, 1, 10.0)


def test_a_slow_database_lets_no_call_start_after_the_deadline(make):
    bench = make()
    bench.insert(12, deadline_ms=2_500)
    batch = bench.database.batch

    async def slow(statements: Any) -> Any:
        result = await batch(statements)
        await asyncio.sleep(0.9)
        return result

    bench.database.batch = slow
    bench.run()
    assert bench.model.calls
    assert max(at for at, _ in bench.model.calls) < 2.5
    assert (bench.task().status, code(bench)) == (Status.FAILED, DEADLINE_EXCEEDED)
    assert bench.task().usage.model_calls >= len(bench.model.calls)


def test_a_claim_that_was_long_under_way_starts_nothing_near_the_deadline(make):
    bench = make()
    bench.insert(20, deadline_ms=2_500)
    batch = bench.database.batch

    async def late(statements: Any) -> Any:
        bench.database.batch = batch
        await asyncio.sleep(0.9)
        return await batch(statements)

    bench.database.batch = late
    assert bench.run() == Ended(Status.FAILED)
    assert [at for at, _ in bench.model.calls] == [pytest.approx(0.9)] * 6
    assert (bench.loop.time(), bench.task().completed) == (pytest.approx(2.5), 6)
    assert bench.events("call_not_started") == []


def test_a_retry_after_the_deadline_goes_on(make):
    bench = make()
    bench.insert(18, deadline_ms=2_500)
    bench.run()
    retry(bench)
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 18 + 6 == bench.task().usage.model_calls


def test_a_budget_is_spent_to_the_last_call(make):
    bench = make()
    bench.insert(20, max_calls=14)
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert (code(bench), task.completed, task.usage.model_calls) == (BUDGET_EXHAUSTED, 14, 14)
    assert [view.output for view in bench.do(bench.store.chunks("task"))] == ["<x>"] * 14
    for most in (None, 14, 19):
        assert bench.do(bench.store.retry(TaskKey("task"), bench.settings.lease_ms, max_calls=most)) is None
    assert bench.do(bench.store.retry(TaskKey("task"), bench.settings.lease_ms, max_calls=20)) is not None
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 20


def test_a_task_of_one_chunk_needs_no_budget_for_a_merge(make):
    bench = make()
    bench.insert(1, Reduce.MERGE)
    assert bench.do(bench.store.cancel(TaskKey("task"), 1_000)).changed
    assert bench.do(bench.store.retry(TaskKey("task"), bench.settings.lease_ms, max_calls=1)) is not None
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 1


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), chunks=st.integers(1, 9), most=st.integers(1, 12), reduce=st.sampled_from(Reduce))
@examples(max_examples=100)
def test_no_mishap_passes_a_budget(seed: int, chunks: int, most: int, reduce: Reduce):
    dice = random.Random(seed)
    bench = WorkerBench(max_attempts=dice.randint(1, 4), concurrency=dice.randint(1, 6))
    bench.insert(chunks, reduce, max_calls=most)
    mishaps = [None, None, None, ModelUnavailable("503"), ModelRateLimited("429", 1), ModelRateLimited("429", 100)]
    bench.model.act = lambda call, number: dice.choice(mishaps)
    for _ in range(12):
        if dice.random() < 0.3:
            bench.database.fail(NETWORK_LOST, dice.choice(["before", "after"]), dice.randint(1, 4))
        run = bench.loop.create_task(
            bench.worker().run(TaskKey("task"), Host(Route.QUEUE, dice.choice([0.5, 3.0, 600.0])))
        )
        bench.do(asyncio.wait([run], timeout=dice.choice([0.2, 1.5, 4.0, 400.0])))
        run.cancel()
        bench.do(asyncio.wait([run]))
        if not run.cancelled() and (error := run.exception()) is not None:
            assert isinstance(error, StoreUnavailable), error
        bench.database.heal()
        task = bench.task()
        assert len(bench.model.calls) <= most
        assert len(bench.model.calls) <= task.usage.model_calls <= most
        if task.status is Status.FAILED and dice.random() < 0.8 and code(bench) != BUDGET_EXHAUSTED:
            retry(bench)
        bench.do(asyncio.sleep(dice.choice([0, 200])))
    bench.close()


@pytest.mark.parametrize("reduce", list(Reduce))
def test_a_budget_of_exactly_what_is_needed_is_enough(make, reduce: Reduce):
    bench, other = make(), make()
    bench.insert(8, reduce, max_calls=8 + (reduce is Reduce.MERGE))
    assert bench.run() == Ended(Status.COMPLETED)
    other.insert(8, reduce, max_calls=7 + (reduce is Reduce.MERGE))
    assert other.run() == Ended(Status.FAILED)
    assert (code(other), len(other.model.calls)) == (BUDGET_EXHAUSTED, 7 + (reduce is Reduce.MERGE))


def test_max_attempts_comes_first_where_it_is_less(make):
    bench = make(max_attempts=2, patience_seconds=0)
    bench.insert(1, max_calls=10)
    bench.model.act = lambda call, number: ModelUnavailable("503")
    assert bench.run() == Ended(Status.FAILED)
    assert (code(bench), len(bench.model.calls)) == ("model_unavailable", 2)


def test_a_failure_keeps_what_is_in_flight(make):
    bench = make(max_attempts=1, patience_seconds=0)
    bench.insert(6)
    errors: dict[int, ModelError] = {1: ModelUnavailable("500")}
    bench.model.seconds = lambda number: 0.1 if number == 1 else 2.0
    bench.model.act = lambda call, number: errors.pop(1, None)
    assert bench.run() == Ended(Status.FAILED)
    assert (bench.task().completed, bench.task().failed, len(bench.model.calls)) == (5, 1, 6)
