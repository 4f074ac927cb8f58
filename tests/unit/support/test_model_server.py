"""The fault-injecting model server, a stand-in for a model, on whose ledger other tests rely."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support import model_plan, model_server, model_wire
from tests.support.model_plan import Plan, output_for, read_ledger, tokens_for
from tests.support.model_server import ModelServer
from tests.support.steps import counted

pytestmark = pytest.mark.slow  # connections

ROOT = Path(__file__).resolve().parents[3]


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
    """The model server gives the same output for the same text."""
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


@pytest.mark.parametrize("chars", [1, 30, 50, 5_000])
def test_outputs_can_have_a_length(chars: int) -> None:
    """A test can set the exact length of the model server's outputs, for merges with several levels."""
    with ModelServer(output_chars=chars) as server:
        assert len(ask(server, "a").json()["choices"][0]["message"]["content"]) == chars


def test_models_are_listed_and_do_not_count(server: ModelServer) -> None:
    """The model server counts neither a probe nor a request for an unknown path as a call."""
    assert httpx.get(f"{server.base_url}/models", trust_env=False).json()["object"] == "list"
    assert httpx.get(f"{server.base_url}/nothing", trust_env=False).status_code == 404
    assert server.calls() == []


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


def test_a_script_follows_a_text() -> None:
    """The behaviours that a test lists for a text follow each other, whatever other calls come in between."""
    plan = Plan(by_text={"bad": [model_plan.status(500), model_plan.status(503)]})
    with ModelServer(plan=plan) as server:
        codes = [ask(server, text).status_code for text in ("a bad one", "good", "a bad one", "a bad one")]
    assert codes == [500, 200, 503, 200]


def test_a_function_can_decide(server: ModelServer) -> None:
    """The function `decide` may choose the server's answer to a call, or leave it to the other rules."""
    server.plan = Plan(decide=lambda call: model_plan.status(404) if call.number % 2 else None)
    assert [ask(server, "a").status_code for _ in range(3)] == [404, 200, 404]


def test_chances_follow_the_seed() -> None:
    """With the same seed the model server makes the same random faults, and with another seed others."""

    def codes(seed: int) -> list[int]:
        plan = Plan(chances=[(0.3, model_plan.status(500)), (0.2, model_plan.rate_limit())], seed=seed)
        with ModelServer(plan=plan) as server:
            return [ask(server, "a").status_code for _ in range(30)]

    first = codes(1)
    assert set(first) == {200, 429, 500}
    assert codes(1) == first
    assert codes(2) != first


def test_a_wrong_key_is_refused() -> None:
    """If the model server has a key, a call without it gets 401, and is counted."""
    with ModelServer(api_key="right") as server:
        assert [ask(server, "a", key=key).status_code for key in ("right", "wrong", None)] == [200, 401, 401]
        assert [call.answered for call in server.calls()] == ["ok", "status 401", "status 401"]


def test_a_hanging_call_ends_when_the_client_goes() -> None:
    """A call that hangs counts as in flight until its client gives it up."""
    with ModelServer(plan=Plan(by_number={1: model_plan.hang()})) as server:
        with pytest.raises(httpx.ReadTimeout):
            ask(server, "a", timeout=0.2)
        server.wait_until_idle()
        [call] = server.calls()
        assert (call.answered, call.complete) == ("hang", False)


def test_closing_the_server_ends_hanging_calls() -> None:
    """Closing the model server ends calls that hang, so that a test does not hang itself."""
    with ThreadPoolExecutor() as threads, ModelServer(plan=Plan(by_number={1: model_plan.hang()})) as server:
        waiting = threads.submit(ask, server, "a")
        server.wait_for_in_flight(1)
        server.close()
        assert isinstance(waiting.exception(), httpx.RemoteProtocolError)


def test_held_calls_wait_for_release(server: ModelServer) -> None:
    """While the model server holds its answers, a test can wait until a number of calls has arrived."""
    server.hold()
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(ask, server, str(number)) for number in range(4)]
        server.wait_for_in_flight(4)
        assert server.in_flight() == 4
        assert not any(call.complete for call in server.calls())
        with pytest.raises(TimeoutError, match="4 in flight"):
            server.wait_for_in_flight(5, timeout_seconds=0.05)
        server.release()
        assert [done.result().status_code for done in waiting] == [200] * 4
    server.wait_until_idle()
    server.reset()
    assert server.calls() == []


def test_many_calls_at_once_are_out_together() -> None:
    """24 calls at once, several times, are all in flight together on 24 connections, each for at least the latency.

    A call costs the model server a few lines of Python, so that its real latency is the requested one.
    """

    async def rounds(server: ModelServer) -> None:
        document = {"model": "m", "messages": [{"role": "user", "content": "x" * 6_000}]}
        limits = httpx.Limits(max_connections=24, max_keepalive_connections=24)
        async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:

            async def once() -> None:
                (await client.post(f"{server.base_url}/chat/completions", json=document)).raise_for_status()

            for _ in range(4):
                server.hold()
                held = asyncio.gather(*(once() for _ in range(24)))
                await asyncio.to_thread(server.wait_for_in_flight, 24, 60)
                server.release()
                await held
                await asyncio.to_thread(server.wait_until_idle, 60)
                assert len(server._connections) == 24

    with ModelServer(latency_seconds=0.2) as server, counted(model_server, model_wire, model_plan) as steps:
        asyncio.run(rounds(server))
        calls = server.calls()
    assert len(calls) == 96
    assert max(call.in_flight for call in calls) == 24
    assert min(call.ended_at - call.arrived_at for call in calls if call.ended_at is not None) >= 0.199
    assert steps.lines <= 300 * len(calls), steps.lines / len(calls)


def test_a_process_of_its_own_keeps_a_ledger(tmp_path: Path) -> None:
    """As a process the model server prints its address, writes each event at once, and ends on SIGTERM."""
    ledger = tmp_path / "calls.jsonl"
    command = [sys.executable, "-m", "tests.support.model_server", "--ledger", str(ledger), "--latency", "0"]
    command += ["--fault", "error=1.0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        document = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
        assert httpx.post(f"{url}/chat/completions", json=document, trust_env=False).status_code == 500
        with ledger.open("a") as file:
            file.write('{"number": 2, "arriv')  # a process that is killed during a write leaves only a part of a line
        [call] = read_ledger(ledger)
        assert (call.user, call.answered, call.complete) == ("a", "status 500", True)
        assert len(ledger.read_text().splitlines()) == 3
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_a_taken_port_is_an_error(server: ModelServer) -> None:
    """If its port is in use, the model server's command reports this and does not wait."""
    port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(OSError, match="in use"), ModelServer(port=port):
        pass
