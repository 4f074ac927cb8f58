"""How often a request waits for D1 before its answer: the exact number of D1 calls, with a key and without."""

from collections.abc import Callable

import pytest

from src.kernel.domain import limits
from tests.support.api_bench import ApiBench, bearer, data

type Ask = Callable[[ApiBench, dict[str, str], dict[str, str]], int]


def submission(characters: int) -> Ask:
    def ask(bench: ApiBench, headers: dict[str, str], ids: dict[str, str]) -> int:
        text = f"{bench.database.batches} ".ljust(characters, "x")
        return bench.call("POST", "/api/tasks", {"input": text, "chunk": {"maxChars": 6_000}}, headers).status

    return ask


def get(path: str) -> Ask:
    return lambda bench, headers, ids: bench.call("GET", path.format_map(ids), headers=headers).status


RESPONSE = {"model": "demo-1", "input": "A text.", "background": True}
KINDS: dict[str, Ask] = {
    "submission of 24,000 characters": submission(24_000),
    "submission of 120,000 characters": submission(120_000),
    "poll": get("/api/tasks/{task}"),
    "POST /v1/responses": lambda bench, headers, ids: bench.call("POST", "/v1/responses", RESPONSE, headers).status,
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
