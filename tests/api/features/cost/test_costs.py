"""Costs over HTTP: of tasks, responses and batches, in the history, in the metrics, and in a dry run."""

from typing import Any

import pytest

from src.kernel.calls.asking import sent_bytes
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.prices import Price, parse_prices, written
from src.kernel.domain.settings import Settings
from tests.support import batches
from tests.support.api_bench import ApiBench, data, key
from tests.support.scripted_model import ScriptedModel

PRICES = parse_prices(
    '{"scripted-1": {"input": "2", "cachedInput": "1", "output": "8", "maxOutput": 50},'
    ' "demo": {"input": "3", "output": "4"}}'
)
PRICE = PRICES["scripted-1"]
TEXT = "one\n\ntwo\n\nthree"
NOTHING = {"amount": "0.000000000", "currency": "USD", "inDoubt": "0.000000000"}


@pytest.fixture
def bench() -> ApiBench:
    """Make a deployment with prices, whose model had four tokens of one call in its cache."""
    settings = Settings(provider="demo", chunk_chars=10, prices=PRICES)
    model = ScriptedModel(one=[ModelReply("1", 10, 1, "stop", cached_tokens=4)])
    return ApiBench(settings=settings, provider=model)


def test_a_task_shows_what_its_calls_cost(bench: ApiBench) -> None:
    made = bench.submit(TEXT)
    assert made["usage"]["cost"] == NOTHING
    usage = bench.work_on(made["id"])["usage"]
    calls = usage["modelCalls"]
    amount = PRICE.cost(10, 1, 4) + (calls - 1) * PRICE.cost(10, 1)
    assert usage["cost"] == NOTHING | {"amount": written(amount)}
    assert usage["cachedInputTokens"] == 4
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert listed["usage"] == usage


def test_an_answer_from_a_gateway_s_cache_costs_nothing(bench: ApiBench) -> None:
    """Its chunk says so, its tokens are those of the answer, and each call names its task."""
    model = bench.worker.provider
    assert isinstance(model, ScriptedModel)
    model.says = {"one": [ModelReply("1", 10, 1, "stop", from_cache=True)]}
    made = bench.submit(TEXT)
    bench.work_on(made["id"])
    found = data(bench.call("GET", f"/api/tasks/{made['id']}?include=chunks"))
    calls = found["usage"]["modelCalls"]
    assert [chunk.get("cached") for chunk in found["chunks"]] == [True] + [None] * (calls - 1)
    assert found["usage"]["cost"] == NOTHING | {"amount": written((calls - 1) * PRICE.cost(10, 1))}
    assert found["usage"]["inputTokens"] == 10 * calls
    assert {call.task_key for call in model.calls} == {key(made["id"])}


def test_a_model_without_a_price_has_no_cost(bench: ApiBench) -> None:
    made = bench.submit(TEXT, model="other")
    assert bench.work_on(made["id"])["usage"]["cost"] is None
    assert data(bench.call("POST", "/api/tasks?dryRun=true", {"input": TEXT, "model": "other"}))["cost"] is None


def test_a_response_shows_cached_tokens_as_openai_does(bench: ApiBench) -> None:
    """`/v1` has the cached input in OpenAI's place, and the cost in `onceover`."""
    made = data(bench.call("POST", "/v1/responses", {"input": "one", "background": True}))
    bench.work_on(made["onceover"]["task"].rpartition("/")[2])
    found = data(bench.call("GET", f"/v1/responses/{made['id']}"))
    assert found["usage"]["input_tokens_details"]["cached_tokens"] == 4
    assert found["onceover"]["usage"]["cost"] == NOTHING | {"amount": written(PRICE.cost(10, 1, 4))}


def test_a_batch_shows_what_its_lines_cost() -> None:
    made = ApiBench(settings=Settings(provider="demo", prices=PRICES))
    batch = batches.create(made, batches.lines(3))
    named: list[object] = []
    infer = made.worker.provider.infer

    async def noted(call: ModelCall) -> ModelReply:
        named.append(call.task_key)
        return await infer(call)

    made.worker.provider.infer = noted  # type: ignore[method-assign]
    ended = batches.run(made, batch)
    assert named == [batches.key_of(batch)] * 3
    usage = ended["usage"]
    cost = sum(
        PRICES["demo"].cost(one["prompt_tokens"], one["completion_tokens"])
        for line in batches.content(made, ended["output_file_id"])
        for one in [line["response"]["body"]["usage"]]
    )
    assert ended["onceover"]["usage"]["cost"] == NOTHING | {"amount": written(cost)}
    assert cost >= PRICES["demo"].cost(usage["input_tokens"], usage["output_tokens"])


def test_history_and_metrics_add_costs_up(bench: ApiBench) -> None:
    empty = bench.call("GET", "/api/metrics").body
    assert 'onceover_cost_dollars_total{route="queue"} 0\n' in empty
    first, second = bench.submit(TEXT), bench.submit("one")
    for task in (first, second):
        bench.work_on(task["id"])
    assert bench.call("DELETE", f"/api/tasks/{first['id']}").status == 204
    bench.pass_seconds(1)
    calls = first["usage"]["minimumCalls"] - 1
    amount = 2 * PRICE.cost(10, 1, 4) + calls * PRICE.cost(10, 1)
    buckets = data(bench.call("GET", "/api/history?hours=1"))["buckets"]
    assert [(one["cost"], one["cachedInputTokens"]) for one in buckets] == [(NOTHING | {"amount": written(amount)}, 8)]
    shown = bench.call("GET", "/api/metrics").body
    assert f'onceover_cost_dollars_total{{route="queue"}} {amount / 10**9!r}\n' in shown
    assert 'onceover_cost_in_doubt_dollars_total{route="queue"} 0\n' in shown
    assert 'onceover_cached_input_tokens_total{route="queue"} 8\n' in shown
    bench.limit(prices={})
    (bucket,) = data(bench.call("GET", "/api/history?hours=1"))["buckets"]
    assert bucket["cost"]["amount"] == written(amount)


@pytest.mark.parametrize("reduce", ["concat", "merge"])
@pytest.mark.parametrize("repeated", [{}, {"chunk": {"maxChars": 9, "overlapChars": 3}}, {"contextChars": 200}])
def test_a_plan_has_the_least_and_the_most(bench: ApiBench, reduce: str, repeated: dict[str, Any]) -> None:
    body: dict[str, Any] = {"input": 'ä"\n' * 90, "reduce": reduce, "chunk": {"maxChars": 9}} | repeated
    plan = data(bench.call("POST", "/api/tasks?dryRun=true", body))
    assert plan["cost"]["least"] == written(PRICE.cost(plan["estimatedTokens"], 0))
    task = bench.submit(**body)
    bench.work_on(task["id"])
    model = bench.worker.provider
    assert isinstance(model, ScriptedModel)
    most = sum(PRICE.most(sent_bytes(call), None) for call in model.calls)
    assert plan["cost"]["most"] >= written(most)
    bench.limit(prices={"scripted-1": PRICE._replace(max_output=None)})
    assert data(bench.call("POST", "/api/tasks?dryRun=true", body))["cost"]["most"] is None
    limited = data(bench.call("POST", "/api/tasks?dryRun=true", body | {"maxOutputTokens": 7}))["cost"]["most"]
    assert limited < plan["cost"]["most"]


def test_a_byte_is_a_token_at_most() -> None:
    """What a call sends has at least a byte for each character, and what its fields need."""
    call = ModelCall("s" * 100, "ü" * 100, "m", 5, 0.5, {"seed": 1})
    assert 300 < sent_bytes(call) < 500
    line = ModelCall("", "", "m", body={"messages": [{"role": "user", "content": "ü" * 100}]})
    assert 200 < sent_bytes(line) < 300
    assert Price(0, 10**6, 0).most(3, None) == 3
