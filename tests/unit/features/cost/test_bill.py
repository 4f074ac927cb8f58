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
from src.kernel.domain.prices import Price, parse_prices, published
from src.kernel.domain.task import Reduce, Status, TaskOptions
from src.kernel.run.context import Ended
from src.kernel.store.claims import CallKey, Money
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench
from tests.unit.kernel.calls.test_openai import completion, infer, reply
from tests.unit.kernel.calls.test_wire import workers_ai

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


# Millionths of a dollar for a token: what `PRICED` has as dollars for a million.
PRICED = {
    **published("openai", "https://api.openai.com/v1"),  # gpt-5.4-mini: 0.75, cached 0.075, output 4.50
    **published("workers-ai", None),  # qwen3-30b: 0.051, cached or not, output 0.34
    **parse_prices('{"local": {"input": "0.2", "cachedInput": "0.02", "output": "0.8", "maxOutput": 1000}}'),
}
OPENAI, WORKERS_AI, LOCAL = "gpt-5.4-mini", "@cf/qwen/qwen3-30b-a3b-fp8", "local"
SAID = completion("fine")


def used(asked: int, made: int, **details: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made, **details}}


# By name: the model, the provider's answer, and the cost in billionths of a dollar.
ANSWERS: dict[str, tuple[str, dict[str, Any], int]] = {
    # https://developers.openai.com/api/docs/guides/prompt-caching: 86 × 0.75 + 1,920 × 0.075 + 300 × 4.50
    "openai, cached": (OPENAI, SAID | used(2006, 300, prompt_tokens_details={"cached_tokens": 1920}), 1_558_500),
    # https://developers.openai.com/api/docs/guides/reasoning, with the names of a chat completion. Reasoning is billed
    # as output: 75 × 0.75 + 1,186 × 4.50
    "openai, reasoning": (
        OPENAI,
        SAID
        | used(
            75,
            1186,
            prompt_tokens_details={"cached_tokens": 0, "audio_tokens": 0},
            completion_tokens_details={"reasoning_tokens": 1024, "accepted_prediction_tokens": 0},
        ),
        5_393_250,
    ),
    # https://github.com/BerriAI/litellm/issues/22984, an answer of vLLM with --enable-prompt-tokens-details:
    # 447 × 0.2 + 149,936 × 0.02 + 304 × 0.8
    "vllm, cached and reasoning": (
        LOCAL,
        SAID
        | used(
            150_383,
            304,
            prompt_tokens_details={"text_tokens": None, "audio_tokens": None, "cached_tokens": 149_936},
            completion_tokens_details={"text_tokens": None, "reasoning_tokens": 15},
        ),
        3_331_320,
    ),
    # vLLM without that flag has null for the details. 31 × 0.2 + 9 × 0.8
    "vllm, not told": (
        LOCAL,
        SAID | used(31, 9, prompt_tokens_details=None) | {"prompt_logprobs": None, "kv_transfer_params": None},
        13_400,
    ),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md, "Timings and context usage":
    # 44 × 0.2 + 48 × 0.8
    "llama.cpp": (
        LOCAL,
        SAID
        | used(44, 48, prompt_tokens_details={"cached_tokens": 0})
        | {"timings": {"cache_n": 236, "prompt_n": 1, "predicted_n": 35}},
        47_200,
    ),
    # The same page's timings, with the usage of a server from before it had details: 1 × 0.2 + 236 × 0.02 + 35 × 0.8
    "llama.cpp, timings alone": (
        LOCAL,
        SAID
        | used(237, 35)
        | {"timings": {"cache_n": 236, "prompt_n": 1, "prompt_ms": 30.958, "predicted_n": 35, "predicted_ms": 661.064}},
        32_920,
    ),
    # https://github.com/cloudflare/ai/issues/509, cached at the same price: 1,695 × 0.051 + 76 × 0.34
    "workers-ai, cached": (WORKERS_AI, SAID | used(1695, 76, prompt_tokens_details={"cached_tokens": 1694}), 112_285),
    # The same page's answer in the binding's older shape: 6,377 × 0.051 + 349 × 0.34
    "workers-ai, response": (
        WORKERS_AI,
        {"response": "fine"} | used(6377, 349, prompt_tokens_details={"cached_tokens": 2861}),
        443_887,
    ),
}


def cost(model: str, answer: dict[str, Any]) -> int:
    """Return what the bill of a task has booked after one call with this answer."""
    call = ModelCall("s", "x", model)
    made: ModelReply = workers_ai(answer, call) if model == WORKERS_AI else infer(reply(200, answer), call)
    bill = CallCosts(Money(), PRICED)
    assert bill.within([KEY], (), lambda key: call) == [KEY]
    bill.ended(KEY, made)
    booked = bill.totals([]).booked
    assert booked is not None
    return booked


@pytest.mark.parametrize(("model", "answer", "amount"), ANSWERS.values(), ids=ANSWERS)
def test_a_call_costs_what_its_provider_counts(model: str, answer: dict[str, Any], amount: int) -> None:
    """Cached input has its own price, and reasoning is a part of the output."""
    assert cost(model, answer) == amount


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {"prompt_tokens": None, "completion_tokens": None}}])
@pytest.mark.parametrize("model", [OPENAI, WORKERS_AI, LOCAL])
def test_a_call_without_counts_costs_its_most(model: str, usage: dict[str, Any]) -> None:
    """Older models of Workers AI, and some gateways, answer without usage: a byte a token, and all output allowed."""
    call = ModelCall("s", "x", model)
    said = {"response": "fine"} if model == WORKERS_AI else SAID
    without = {name: value for name, value in said.items() if name != "usage"}
    assert cost(model, without | usage) == PRICED[model].most(sent_bytes(call), None)
