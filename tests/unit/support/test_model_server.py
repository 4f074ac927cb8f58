"""The fault-injecting model server, a stand-in for a model, on whose ledger other tests rely."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support import model_plan
from tests.support.model_plan import Plan, output_for, tokens_for
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.slow  # connections


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def ask(server: ModelServer, user: str, *, timeout: float = 10.0, key: str | None = None) -> httpx.Response:
    messages = [{"role": "system", "content": "do it"}, {"role": "user", "content": user}]
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    document = {"model": "m-1", "messages": messages}
    return httpx.post(
        f"{server.base_url}/chat/completions", json=document, headers=headers, timeout=timeout, trust_env=False
    )


def test_an_answer_follows_from_the_text_and_stands_in_the_ledger(server: ModelServer) -> None:
    first, second = ask(server, "漢字", key="k").json(), ask(server, "漢字").json()
    assert first["choices"] == second["choices"]
    assert first["choices"][0]["message"]["content"] == output_for("漢字")
    call, other = server.calls_for("漢字")
    assert (call.number, call.model, call.system, call.user) == (1, "m-1", "do it", "漢字")
    assert (call.roles, call.authorized, other.authorized) == (["system", "user"], True, False)
    assert (call.answered, call.complete, call.in_flight) == ("ok", True, 1)
    assert call.ended_at is not None
    assert call.ended_at >= call.arrived_at
    tokens = (tokens_for("do it") + tokens_for("漢字"), tokens_for(output_for("漢字")))
    assert (first["usage"]["prompt_tokens"], first["usage"]["completion_tokens"]) == tokens
    assert server.usage() == (2 * tokens[0], 2 * tokens[1])


def test_faults_come_to_order() -> None:
    """The model server makes each fault that a test orders, and its ledger names the fault."""
    plan = Plan(
        by_number={
            1: model_plan.rate_limit(2),
            2: model_plan.status(500),
            3: model_plan.garbage(),
            4: model_plan.empty(),
            5: model_plan.redirect("http://elsewhere.test/"),
            6: model_plan.drop(),
            7: model_plan.cut(),
            8: model_plan.rate_limit(None),
            9: model_plan.ok("by the book"),
        }
    )
    with ModelServer(plan=plan) as server:
        limited = ask(server, "a")
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "2")
        assert limited.json()["error"]["code"] == "rate_limit_exceeded"
        assert ask(server, "a").status_code == 500
        garbage = ask(server, "a")
        assert (garbage.status_code, garbage.text[:6]) == (200, "<html>")
        assert ask(server, "a").json()["choices"] == []
        moved = ask(server, "a")
        assert (moved.status_code, moved.headers["location"]) == (307, "http://elsewhere.test/")
        for _ in ("drop", "cut"):
            with pytest.raises(httpx.RemoteProtocolError):
                ask(server, "a")
        assert "retry-after" not in ask(server, "a").headers
        assert ask(server, "a").json()["choices"][0]["message"]["content"] == "by the book"
        assert [call.answered for call in server.calls()] == [
            "status 429",
            "status 500",
            "garbage",
            "empty",
            "status 307",
            "drop",
            "cut",
            "status 429",
            "ok",
        ]
        assert [call.number for call in server.calls() if not call.complete] == [6, 7]
