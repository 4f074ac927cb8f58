"""The bytes sent to D1, clients and providers besides texts, within 5 % of today's, and how often D1 is waited for."""

import asyncio
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from src.kernel.calls.openai import OpenAIProvider
from src.kernel.calls.protocol import HttpReply, ModelCall
from src.kernel.domain import limits
from tests.support.api_bench import ApiBench, bearer, data
from tests.support.worker_bench import WorkerBench
from tests.unit.kernel.calls.test_openai import ScriptedHttp

CHUNKS = 20


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench()
    yield made
    made.close()


@pytest.fixture
def api() -> ApiBench:
    return ApiBench()


def within(measured: int, today: int) -> bool:
    """Return whether a figure is within 5 % of today's; also a smaller one must be noted here."""
    return 0.95 * today <= measured <= 1.05 * today


@pytest.mark.parametrize(("least", "most", "calls", "today"), [(0.0, 0.0, 5, 20_710), (2.0, 10.0, 13, 37_795)])
def test_what_a_run_of_20_chunks_sends_to_d1(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, least: float, most: float, calls: int, today: int
) -> None:
    """A run of 20 chunks sends as many bytes of statements and values, for equal and uneven calls."""
    sent: list[int] = []
    batch = bench.database.batch

    async def counted(statements: list[Any]) -> Any:
        sent.append(sum(len(one.sql) + len(json.dumps(one.values)) for one in statements))
        return await batch(statements)

    dice = Random(1)
    bench.model.seconds = lambda number: dice.uniform(least, most)
    bench.insert(CHUNKS)
    monkeypatch.setattr(bench.database, "batch", counted)
    bench.run()
    assert bench.task().status == "completed"
    # With equal calls the run's five D1 calls are the claim, three waves, and the end. The last call is this test's own
    # read.
    assert len(sent[:-1]) == calls
    assert within(sum(sent[:-1]), today), sent


def test_what_a_submission_and_a_poll_answer(api: ApiBench) -> None:
    """The answers about a task of 20 chunks are as long as today, within 5 %."""
    reply = api.call("POST", "/api/tasks", {"input": "abc def. " * 20, "chunk": {"maxChars": 10}})
    assert (reply.status, data(reply)["progress"]["total"]) == (202, CHUNKS)
    assert within(len(reply.body), 1_501), len(reply.body)
    poll = api.call("GET", f"/api/tasks/{data(reply)['id']}")
    assert within(len(poll.body), 1_501), len(poll.body)
    chunks = api.call("GET", f"/api/tasks/{data(reply)['id']}/chunks")
    assert within(len(chunks.body), 34), len(chunks.body)


def test_what_a_call_sends_to_its_provider_beside_the_texts() -> None:
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": {}}
    http = ScriptedHttp(HttpReply(200, {}, json.dumps(answer).encode()))
    made = OpenAIProvider(http, base_url="http://m/v1", api_key="k", model=None)
    asyncio.run(made.infer(ModelCall(system="", user="", model="m", max_output_tokens=1, temperature=0.5)))
    (_, _, headers, body, *_) = http.requests[0]
    assert body is not None
    assert within(len(body), 98), len(body)
    assert within(len(json.dumps(headers)), 95), len(json.dumps(headers))


type Ask = Callable[[ApiBench, dict[str, str], dict[str, str]], int]


def submission(characters: int) -> Ask:
    def ask(api: ApiBench, headers: dict[str, str], ids: dict[str, str]) -> int:
        text = f"{api.database.batches} ".ljust(characters, "x")
        return api.call("POST", "/api/tasks", {"input": text, "chunk": {"maxChars": 6_000}}, headers).status

    return ask


def get(path: str) -> Ask:
    return lambda api, headers, ids: api.call("GET", path.format_map(ids), headers=headers).status


RESPONSE = {"model": "demo-1", "input": "A text.", "background": True}
KINDS: dict[str, Ask] = {
    "submission of 24,000 characters": submission(24_000),
    "submission of 120,000 characters": submission(120_000),
    "poll": get("/api/tasks/{task}"),
    "POST /v1/responses": lambda api, headers, ids: api.call("POST", "/v1/responses", RESPONSE, headers).status,
    "GET /v1/responses": get("/v1/responses/{response}"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_with_a_remembered_key_waits_for_d1_once(keyed: ApiBench, kind: str):
    headers = bearer(keyed.make_key())
    task = data(keyed.call("POST", "/api/tasks", {"input": "A text."}, headers))
    response = data(keyed.call("POST", "/v1/responses", RESPONSE, headers))
    ids = {"task": task["id"], "response": response["id"]}

    def calls() -> int:
        before = keyed.database.batches
        assert KINDS[kind](keyed, headers, ids) in {200, 202}
        return keyed.database.batches - before

    keyed.restart()
    assert [calls(), calls(), calls()] == [2, 1, 1]
    keyed.pass_seconds(limits.KEY_CACHE_SECONDS + 1)
    assert [calls(), calls()] == [2, 1]
