"""Patience with a model that is away: which failures are the model's, which call asks when, and when patience ends."""

import asyncio
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.calls.model_health import ModelHealth, ModelHealths, Patience
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import CallerLost, ModelError, ModelRateLimited, ModelReplyMalformed, ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Route, Status, Wait
from src.kernel.run.context import Ended, Released, RunOutcome
from src.kernel.run.ledger import Ledger
from src.kernel.store.claims import CallKey, Tries
from src.kernel.work.worker import Host
from tests.support.store_bench import START_MS
from tests.support.worker_bench import HOST
from tests.unit.kernel.run.test_ledger import FIRST, REPLY, SECOND, THIRD, claim

OBJECT = Host(Route.DURABLE_OBJECT, 600.0, "object/task")

HOUR = 3_600.0
CHUNK = 7
TENANT, MODEL = "", "m"


def away(
    health: ModelHealth | None = None, *, now: float = 0.0, seconds: float = HOUR, chance: float = 0.0
) -> Patience:
    patience = Patience(health or ModelHealth(), seconds, now=now)
    patience.failed(CHUNK, now - 1, now, None, chance)
    return patience


def probe(patience: Patience, now: float, chance: float = 0.0, asked: float | None = None) -> float:
    patience.started(now)
    patience.failed(CHUNK, now, now + 1, asked, chance)
    return now + 1


@given(st.lists(st.floats(0, 1), min_size=50, max_size=50))
def test_a_task_asks_at_most_32_times_an_hour(chances: list[float]):
    patience, now, times = away(seconds=10 * HOUR), 0.0, []
    for chance in chances:
        now = patience.opens_at(now, None)
        times.append(now)
        now = probe(patience, now, chance)
    assert all(sum(begin <= at < begin + HOUR for at in times) <= 32 for begin in times)
    assert times[0] <= 1
    assert max(later - before for before, later in pairwise(times)) <= limits.AWAY_SECONDS_MOST + 1.001


def test_one_call_at_a_time_asks():
    patience = away(now=10)
    assert patience.narrow(10)
    assert patience.opens_at(20, latest_start=11) == math.inf
    assert patience.opens_at(20, latest_start=9) < 20


def test_a_pause_that_the_provider_asks_for_is_obeyed():
    patience = away(seconds=60)
    probe(patience, 1, asked=90)
    assert patience.opens_at(2, None) == 92


def test_a_success_ends_it_for_all_tasks_of_the_isolate():
    health = ModelHealth()
    one, other, late = away(health), away(health), away(health, now=30)
    one.succeeded(CHUNK, 20)
    assert (one.narrow(21), other.narrow(21), late.narrow(31)) == (False, False, True)
    # All failures of `other` may be the fault of its own chunk, so this task's model counts as away from time 0 on.
    assert (one.away_since, other.away_since) == (None, 0.0)


def test_patience_ends():
    patience, now = away(seconds=600), 0.0
    while not patience.over(now):
        now = max(now, patience.opens_at(now, None))
        assert now <= 600
        patience.started(now)
        now += 1
        patience.failed(CHUNK, now - 1, now, None, 0.0)
    assert 600 <= now <= 602


def test_the_next_claim_goes_on_where_the_last_one_was():
    patience = Patience(ModelHealth(), HOUR, now=1_000.0, away_for=900, waits=8, failed_for=100)
    assert (patience.away_since, patience.waits, patience.narrow(1_000)) == (100, 8, True)
    assert not patience.over(1_000)
    assert patience.over(100 + HOUR)
    assert Patience(ModelHealth(), 0, now=1_000.0, away_for=900, waits=8).away_since is None


def patient(max_attempts: int = 3) -> Ledger:
    ledger = Ledger(claim(total=99), max_attempts, Patience(ModelHealth(), HOUR, now=0.0))
    ledger.add(CallKey(0, position) for position in range(99))
    return ledger


def test_a_chunk_that_alone_fails_ends_after_ten_failures():
    ledger, now, failures = patient(max_attempts=1), 0.0, []
    while ledger.failure is None:
        keys = ledger.startable(now, 3)
        ledger.start(keys, now)
        now += 0.5
        for key in keys:
            if key == FIRST:
                failures.append(now)
                ledger.failed(key, ModelUnavailable("500"), now, 1.0)
        for key in keys:
            if key != FIRST and ledger.failure is None:
                ledger.succeeded(key, REPLY, now=now)
        ledger.settle(now)
        now = max(now, now if ledger.ready else ledger.next_at(now) or now)
        if ledger.ready < 3:  # calls of other chunks must remain until the end of the test
            ledger.add(CallKey(1, position) for position in range(round(now * 1_000), round(now * 1_000) + 9))
    assert ledger.failure.code == "model_unavailable"
    pauses = [round(later - before - 0.5) for before, later in pairwise(failures)]
    assert pauses.pop(0) == 1  # with too few calls of other chunks the first failure would not count
    assert pauses == [4, 8, 16, 32, 64, 128, 160, 160, 160]
    told = ledger.progress([], 99, now)
    assert [(item.key, item.tried, item.final) for item in told.failures] == [(FIRST, Tries(0, 11, 10), True)]


def test_a_failure_counts_once_another_call_succeeds_after_it():
    ledger = patient()
    keys = ledger.startable(0, 4)
    ledger.start(keys, 0)
    for key in keys[1:]:
        ledger.succeeded(key, REPLY, now=1)
    (other, *_) = [key for key in ledger.startable(1, 9) if key != FIRST]
    ledger.start([other], 1)
    ledger.failed(FIRST, ModelUnavailable("500"), 2, 1.0)
    assert [item.tried for item in ledger.progress([], 99, 2).failures] == [Tries(0, 1, 1)]
    assert FIRST not in ledger.startable(5.9, 99)
    assert FIRST in ledger.startable(6, 99)


def test_calls_that_fail_together_are_the_models_trouble():
    ledger = patient(max_attempts=1)
    now = 0.0
    for _ in range(5):
        keys = ledger.startable(now, 3)
        ledger.start(keys, now)
        for key in keys:
            ledger.failed(key, ModelUnavailable("500"), now + 1, 0.0)
        assert ledger.failure is None
        now = max(now + 1, ledger.next_at(now + 1) or 0.0)
    (key,) = ledger.startable(now, 3)
    ledger.start([key], now)
    ledger.succeeded(key, REPLY, now=now + 1)
    assert ledger.failure is None
    assert {item.tried.counted for item in ledger.progress([], 99, now).failures} == {0}
    assert len(ledger.startable(now + 1.5, 3)) == 3


def test_who_asks_next_is_another_call():
    ledger, asked, now = patient(), [], 0.0
    for _ in range(4):
        (key,) = ledger.startable(now, 1)
        asked.append(key)
        ledger.start([key], now)
        ledger.failed(key, ModelUnavailable("500"), now + 1, 0.0)
        now = ledger.next_at(now + 1) or 0.0
    assert asked == [FIRST, SECOND, THIRD, CallKey(0, 3)]


@pytest.mark.parametrize("error", [ModelReplyMalformed("{"), ModelRateLimited("429", 0.0)], ids=["200", "429"])
def test_a_model_that_answers_is_not_away(error: ModelError):
    health = ModelHealth()
    ledger = Ledger(claim(total=9), 3, Patience(health, HOUR, now=0.0))
    ledger.add(CallKey(0, position) for position in range(9))
    ledger.start([FIRST], 0)
    ledger.failed(FIRST, ModelUnavailable("503"), 1, 0.0)
    other = Patience(health, HOUR, now=1)
    assert (ledger.patience.narrow(1), other.narrow(1)) == (True, True)
    (probe,) = ledger.startable(3, 3)
    ledger.start([probe], 3)
    ledger.failed(probe, error, 4, 0.0)
    assert (ledger.patience.narrow(4), other.narrow(4)) == (False, False)
    assert ledger.progress([], 9, 4).away_since is None
    assert len(ledger.startable(20, 3)) == 3
    assert not other.counts(CHUNK, 2, 4)


def test_a_lane_that_is_lost_says_nothing_of_the_model():
    ledger = patient()
    ledger.start([FIRST], 0)
    ledger.failed(FIRST, ModelUnavailable("503"), 1, 0.0)
    (probe,) = ledger.startable(3, 3)
    ledger.start([probe], 3)
    ledger.failed(probe, CallerLost("lost"), 4, 0.0)
    assert ledger.patience.narrow(4)


def test_a_run_says_that_it_waits_for_a_model_that_others_have_found_away(make):
    bench, health = make(), ModelHealths()
    bench.insert(2)
    health.of(TENANT, bench.model.default_model).failed(CHUNK, 0, 0, 3.0, 0.0)
    seen = list[Wait | None]()

    async def run() -> RunOutcome:
        running = asyncio.ensure_future(bench.worker(health=health).run(TaskKey("task"), OBJECT))
        await asyncio.sleep(2)
        task = await bench.store.task(TaskKey("task"))
        seen.append(task.waiting_for if task else None)
        return await running

    assert bench.do(run()) == Ended(Status.COMPLETED)
    assert seen == [Wait("model_away", START_MS + 3_000)]
    assert bench.model.calls[0][0] == 3


def test_a_run_after_an_idle_one_keeps_its_write_for_the_call_that_asks(make):
    """Such a run has one write before its first call, so it does not write that it waits: it would be idle again."""
    bench, health = make(), ModelHealths()
    bench.insert(2)
    bench.database.rows("UPDATE tasks SET idle_runs = 1")
    health.of(TENANT, bench.model.default_model).failed(CHUNK, 0, 0, 3.0, 0.0)
    assert bench.do(bench.worker(health=health).run(TaskKey("task"), OBJECT)) == Ended(Status.COMPLETED)
    assert bench.model.calls[0][0] == 3


@pytest.mark.parametrize(("seconds", "outcome"), [(1.5, Ended(Status.COMPLETED)), (3.0, Released(3.0))])
def test_a_run_of_the_queue_holds_no_consumer_while_the_model_is_away(make, seconds: float, outcome: RunOutcome):
    bench, health = make(), ModelHealths()
    bench.insert(2)
    health.of(TENANT, bench.model.default_model).failed(CHUNK, 0, 0, seconds, 0.0)
    assert bench.do(bench.worker(health=health).run(TaskKey("task"), HOST)) == outcome
    if isinstance(outcome, Released):
        wait = bench.task().waiting_for
        assert wait is not None
        assert wait.reason == "model_away"
        bench.do(asyncio.sleep(outcome.delay_seconds))
        assert bench.run() == Ended(Status.COMPLETED)


def test_a_task_of_the_queue_comes_back_ever_later_while_others_ask(make):
    bench, health, delays = make(), ModelHealths(), list[float]()
    bench.insert(2)
    for _ in range(8):
        now = bench.loop.time()
        health.of(TENANT, bench.model.default_model).failed(CHUNK, now, now, 3.0, 0.0)
        outcome = bench.do(bench.worker(health=health).run(TaskKey("task"), HOST))
        assert isinstance(outcome, Released)
        delays.append(outcome.delay_seconds)
        bench.do(asyncio.sleep(outcome.delay_seconds))
    assert delays == [3, 3, 6, 12, 24, 48, 96, 120]
    assert bench.model.calls == []


def test_every_run_counts_an_outage_from_the_same_failure(make):
    bench, since = make(), set[int]()
    bench.insert(2)
    bench.model.act = lambda call, number: ModelUnavailable("503")
    for _ in range(3):
        outcome = bench.run()
        assert isinstance(outcome, Released)
        since |= {row["away_since"] for row in bench.database.rows("SELECT away_since FROM tasks")}
        bench.do(asyncio.sleep(outcome.delay_seconds))
    assert since == {START_MS + 1_000}


def test_a_run_whose_patience_is_over_does_not_wait_for_a_turn_to_ask(make):
    bench, health = make(patience_seconds=60), ModelHealths()
    bench.insert(2)
    bench.model.act = lambda call, number: ModelUnavailable("503")
    assert isinstance(bench.run(Host(Route.QUEUE, 20.0)), Released)
    bench.do(asyncio.sleep(100))
    calls, now = len(bench.model.calls), bench.loop.time()
    health.of(TENANT, bench.model.default_model).failed(CHUNK, now, now, 30.0, 0.0)
    assert bench.do(bench.worker(health=health).run(TaskKey("task"), HOST)) == Ended(Status.FAILED)
    assert (len(bench.model.calls), bench.loop.time()) == (calls, now)
    assert (bench.failure.code, bench.failure.message) == (TaskCode.MODEL_UNAVAILABLE, "503")


def test_no_time_makes_room_beyond_all_places():
    """If a run that lost lanes has more calls out than places, it waits until a call ends, not for a point in time."""
    assert ModelHealth().widens_at(6, 6, 100.0) == math.inf
    assert ModelHealth().widens_at(7, 6, 100.0) == math.inf


def test_calls_that_were_out_together_are_one_trouble():
    patience = away(now=10)
    for at in (10.1, 10.2, 10.3):
        patience.failed(CHUNK, 9, at, None, 0.0)
    assert (patience.waits, patience.opens_at(10.3, None)) == (1, 10.5)


@pytest.mark.parametrize(("success_seconds", "at_once"), [(-60, 1), (60, 6)])
def test_only_a_success_after_the_tasks_last_failure_ends_its_wait(make, success_seconds: int, at_once: int):
    """A run in another isolate knows when the task's last call failed, and compares it with other tasks' successes."""
    bench, health = make(), ModelHealths()
    bench.do(asyncio.sleep(100))
    bench.insert(9)
    bench.model.act = lambda call, number: ModelUnavailable("503")
    assert isinstance(bench.run(), Released)
    before, failed_at = len(bench.model.calls), bench.model.calls[-1][0] + 1
    bench.do(asyncio.sleep(failed_at + 120 - bench.loop.time()))
    health.of("", bench.model.default_model).succeeded(7, failed_at + success_seconds)
    bench.do(bench.worker(health=health).run(TaskKey("task"), HOST))
    times = [at for at, _ in bench.model.calls[before:]]
    assert times.count(times[0]) == at_once
