"""The bill of a task in money, in virtual time: what each way in which a call can end costs, by the ledger alone."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.features.cost.gate import CallCosts
from src.kernel.calls.asking import sent_bytes
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import (
    ModelConnectionLost,
    ModelError,
    ModelReplyMalformed,
    ModelTimeout,
    ModelUnavailable,
)
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.prices import Price, parse_prices
from src.kernel.domain.task import Reduce, Status, TaskOptions
from src.kernel.run.context import Ended
from src.kernel.store.claims import CallKey, Money
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench

PRICES = parse_prices(
    '{"script-1": {"input": "0.5", "cachedInput": "0.05", "output": "4.000000001", "maxOutput": 100},'
    ' "script-1:flex": {"input": "0.25", "output": "2"}}'
)
PRICE = PRICES["script-1"]
KEY = CallKey(0, 0)
TASK = TaskKey("task")


@pytest.fixture
def make() -> Iterator[Any]:
    """Make benches, whose model has a price."""
    made: list[WorkerBench] = []

    def build(**settings: Any) -> WorkerBench:
        made.append(WorkerBench(**{"prices": PRICES} | settings))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


def columns(bench: WorkerBench) -> tuple[int | None, int, int]:
    """Return the columns of the task's cost: booked, in doubt, out."""
    (row,) = bench.database.rows("SELECT cost, cost_in_doubt, cost_out FROM tasks")
    return row["cost"], row["cost_in_doubt"], row["cost_out"]


def most(bench: WorkerBench, *numbers: int) -> int:
    """Return the most that calls of the bench, by their numbers, could cost together."""
    return sum(PRICE.most(sent_bytes(bench.model.calls[number][1]), None) for number in numbers)


async def dying(bench: WorkerBench) -> None:
    """Run the task, and let the worker die while its first calls are out."""
    run = asyncio.ensure_future(bench.worker().run(TASK, HOST))
    await asyncio.sleep(0.5)
    run.cancel()


@pytest.mark.parametrize("lanes", [False, True])
def test_a_task_costs_what_its_calls_cost(make: Any, *, lanes: bool) -> None:
    """Chunks and merges count, made by the worker or by lanes. Cached input has its own price."""
    bench = make()
    bench.model.act = lambda call, number: ModelReply("x", 10 * number, 5, cached_tokens=3)
    bench.insert(3, Reduce.MERGE)
    assert bench.run(bench.laned_host() if lanes else HOST) == Ended(Status.COMPLETED)
    usage = bench.task().usage
    assert usage.cost == sum(PRICE.cost(10 * number, 5, 3) for number in (1, 2, 3, 4))
    assert (usage.cost_in_doubt, usage.cached_tokens) == (0, 12)
    assert columns(bench)[2] == 0


def test_a_task_without_a_price_writes_as_before(make: Any) -> None:
    """Without a price the claim announces the first calls, and there is no cost. With one, a write of its own does."""
    batches = {}
    for prices in ({}, PRICES):
        bench = make(prices=prices)
        bench.insert(20)
        before = bench.database.batches
        assert bench.run() == Ended(Status.COMPLETED)
        batches[bool(prices)] = bench.database.batches - before
        assert (bench.task().usage.cost is None) == (not prices)
    assert batches == {False: 5, True: 6}


def test_a_service_tier_has_its_own_price(make: Any) -> None:
    """Calls with a `service_tier` cost what the entry `model:tier` says. Without such an entry they have no price."""
    for tier, cost in (("flex", 2 * PRICES["script-1:flex"].cost(10, 5)), ("auto", 2 * PRICE.cost(10, 5)), ("x", None)):
        bench = make()
        asked = TaskOptions(model_options={"service_tier": tier})
        bench.do(bench.store.insert(replace(new_task("task", 2, Reduce.CONCAT, START_MS), options=asked), 1_000))
        assert bench.run() == Ended(Status.COMPLETED)
        assert bench.task().usage.cost == cost


def test_calls_of_a_dead_worker_are_in_doubt_at_their_most(make: Any) -> None:
    """A worker that dies leaves its announced calls at the most that was written with them, whatever prices are now."""
    bench = make()
    bench.insert(3)
    bench.do(dying(bench))
    assert columns(bench) == (0, 0, most(bench, 0, 1, 2))
    doubt = columns(bench)[2]
    bench.settings = replace(bench.settings, prices={"script-1": PRICE._replace(input=7 * PRICE.input)})
    bench.do(asyncio.sleep(600))
    assert bench.run() == Ended(Status.COMPLETED)
    assert columns(bench) == (3 * bench.settings.prices["script-1"].cost(10, 5), doubt, 0)


def test_a_new_price_changes_no_past_bill(make: Any) -> None:
    """A call keeps the price of the claim that announced it. A task whose price is gone keeps what it has cost."""
    bench = make()
    bench.insert(6, max_calls=6)
    bench.model.act = lambda call, number: ModelUnavailable("away") if number > 2 else None
    outcome = bench.run(HOST._replace(seconds=0.5))
    assert outcome != Ended(Status.COMPLETED)
    before = columns(bench)[0]
    assert before == 2 * PRICE.cost(10, 5)
    bench.settings = replace(bench.settings, prices={})
    bench.model.act = lambda call, number: None
    bench.do(asyncio.sleep(60))
    bench.run()
    assert columns(bench)[0] == before


ENDS: tuple[tuple[ModelReply | ModelError | None, str], ...] = (
    (ModelReply("x", 7, 3), "counts"),
    (ModelReply("x", 0, 0), "most"),
    (ModelUnavailable(), "nothing"),
    (ModelTimeout(), "doubt"),
    (ModelConnectionLost(), "doubt"),
    (None, "nothing"),
)


def malformed(*tokens: int) -> ModelError:
    """Return the error of an answer 2xx without a usable output, with these counts."""
    error = ModelReplyMalformed()
    error.tokens = tokens if len(tokens) == 3 else None
    return error


@pytest.mark.parametrize(
    ("outcome", "means"),
    [*ENDS, (malformed(7, 3, 0), "counts"), (malformed(0, 0, 0), "most"), (malformed(), "nothing")],
)
def test_each_end_of_a_call(outcome: ModelReply | ModelError | None, means: str) -> None:
    """2xx costs its counts, without counts the most; 4xx and 5xx cost nothing; without an answer there is doubt."""
    bill = CallCosts(Money(5, 9), PRICES)
    call = ModelCall("s", "ü", "script-1", 20)
    assert bill.within([KEY], (), lambda key: call) == [KEY]
    at_most = PRICE.most(sent_bytes(call), 20)
    assert bill.totals([KEY]) == Money(5, 9, at_most)
    bill.ended(KEY, outcome)
    booked = {"counts": PRICE.cost(7, 3), "most": at_most}.get(means, 0)
    assert bill.totals([]) == Money(5 + booked, 9 + (at_most if means == "doubt" else 0))


@given(st.tuples(*[st.integers(0, 10**6)] * 6))
def test_a_cost_is_exact_and_rounded_up(numbers: tuple[int, ...]) -> None:
    """A call's cost is its tokens at their prices, as fractions, rounded up to a billionth of a dollar."""
    fresh, cached, made, *prices = numbers
    price = Price(*(at * 1_000 for at in prices))
    exact = Fraction(fresh * prices[0] + cached * prices[1] + made * prices[2], 1_000)
    assert price.cost(fresh + cached, made, cached) == -(-exact.numerator // exact.denominator)
    assert price.most(fresh + cached, made) >= price.cost(fresh + cached, made, cached)


def test_a_call_without_a_limit_counts_with_its_input() -> None:
    """The most of a call has its own limit of output, else the price's, else none."""
    open_ended = PRICE._replace(max_output=None)
    assert open_ended.most(1_000, None) == open_ended.cost(1_000, 0)
    assert PRICE.most(1_000, None) == PRICE.cost(1_000, 100)
    assert PRICE.most(1_000, 7) == PRICE.cost(1_000, 7)
