"""Idempotency-Key: one task, through replays, races, refusals and lost answers of D1."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.store.d1 import D1Statement
from tests.support.api_bench import ApiBench, BenchRequest, data, key
from tests.support.sqlite_d1 import NETWORK_LOST, OVERLOADED, When

# Those D1 calls that send the write of a task, or that read to find the task.
ALL_LOST = 2 * limits.STORE_SENDS

URL = "http://localhost:8787/api/tasks"
BODY = {"input": "one\n\ntwo\n\nthree and four", "metadata": {"a": 1, "b": [2, {"c": None, "d": "ü"}]}}
DAY = limits.IDEMPOTENCY_SECONDS


def post(bench: ApiBench, name: str, body: object = BODY, **headers: str) -> Reply:
    return bench.call("POST", "/api/tasks", body, {"idempotency-key": name, **headers})


def tasks(bench: ApiBench) -> list[dict[str, object]]:
    return bench.database.rows("SELECT * FROM tasks")


def submissions(bench: ApiBench) -> list[dict[str, object]]:
    return bench.database.rows("SELECT * FROM submissions")


def is_replay(reply: Reply) -> bool:
    assert reply.status == 202, reply
    said = reply.headers.get("Idempotency-Replayed")
    assert said in {None, "true"}
    return said is not None


def wait(bench: ApiBench, seconds: float) -> None:
    bench.run(asyncio.sleep(seconds))


def refuses(reply: Reply, status: int, code: str) -> bool:
    return (reply.status, data(reply)["code"]) == (status, code)


def test_a_replay(bench: ApiBench) -> None:
    first, second = post(bench, "one"), post(bench, "one")
    assert (is_replay(first), is_replay(second)) == (False, True)
    assert second.body == first.body
    assert {name: second.headers[name] for name in ("Location", "Retry-After")} == {
        name: first.headers[name] for name in ("Location", "Retry-After")
    }
    (row,) = tasks(bench)
    assert row["id"] == key(data(first)["id"])
    assert len(submissions(bench)) == 1
    assert bench.senders[0].sent == [data(first)["id"]]


def test_the_form_of_the_json_does_not_matter(bench: ApiBench) -> None:
    first = post(bench, "one")
    turned = {name: BODY[name] for name in reversed(BODY)}
    for body in (
        json.dumps(turned, indent=3, ensure_ascii=False).encode(),
        json.dumps(BODY, separators=(",", ":")).replace("one", "\\u006fne").encode(),
        b'{"metadata": {"b": [2, {"d": "\xc3\xbc", "c": null}], "a": 1}, "input": "one\\n\\ntwo\\n\\nthree and four"}',
    ):
        again = post(bench, "one", body)
        assert is_replay(again)
        assert again.body == first.body
    assert len(tasks(bench)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"input": "another"},
        BODY | {"metadata": {"a": 2, "b": [2, {"c": None, "d": "ü"}]}},
        BODY | {"metadata": {"a": True, "b": [2, {"c": None, "d": "ü"}]}},
        BODY | {"reduce": "concat"},
        BODY | {"deadlineSeconds": 60},
        BODY | {"maxModelCalls": 9},
        BODY | {"maxOutputTokens": 9},
        BODY | {"temperature": 1},
        BODY | {"modelOptions": {"seed": 1}},
    ],
)
def test_another_body(bench: ApiBench, other: dict[str, object]) -> None:
    first = post(bench, "one")
    assert refuses(post(bench, "one", other), 422, "idempotency_mismatch")
    assert is_replay(post(bench, "one"))
    assert bench.senders[0].sent == [data(first)["id"]]
    assert len(tasks(bench)) == len(submissions(bench)) == 1


@pytest.mark.parametrize("state", ["processing", "completed", "failed", "cancelled"])
def test_replay_of_a_task_that_went_on(bench: ApiBench, state: str) -> None:
    task = data(post(bench, "one"))
    match state:
        case "processing":
            bench.begin(task["id"], 1)
        case "completed":
            bench.complete(task["id"])
        case "failed":
            bench.fail(task["id"])
        case "cancelled":
            bench.call("POST", task["links"]["cancel"])
    again = post(bench, "one")
    assert is_replay(again)
    assert again.body == bench.call("GET", task["links"]["self"]).body
    assert data(again)["status"] == state
    assert ("Retry-After" in again.headers) == (state == "processing")
    assert bench.senders[0].sent == [task["id"]]


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", " a", "a ", "x" * 256, "a\tb", "a\nb", "a\x00", "\x7f", "é", "文", "a\u2028", "x" * 100_000],
)
def test_what_is_no_key(bench: ApiBench, name: str) -> None:
    request = BenchRequest("POST", URL, {"idempotency-key": name}, json.dumps(BODY).encode())
    assert refuses(bench.send(request), 400, "bad_idempotency_key")
    assert (request.read_bytes, bench.database.batches) == (0, 0)


@pytest.mark.parametrize("message", [NETWORK_LOST, OVERLOADED, "D1_ERROR: words that nobody knows yet"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_asked_for_again(bench: ApiBench, when: When, message: str) -> None:
    """If D1's answer is lost once or twice, the transaction is sent again, and makes one task and no replay."""
    for times in range(1, limits.STORE_SENDS):
        bench.database.fail(message, when, times)
        assert not is_replay(post(bench, f"key {times}".replace(" ", "-")))
    assert len(tasks(bench)) == len(submissions(bench)) == len(bench.senders[0].sent) == limits.STORE_SENDS - 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_left_of_a_503(bench: ApiBench, when: When) -> None:
    """If every answer of D1 is lost, the client gets 503, and neither the task nor the key stays."""
    bench.database.fail(NETWORK_LOST, when, ALL_LOST)
    assert refuses(post(bench, "one"), 503, "database_unavailable")
    assert (tasks(bench), submissions(bench), bench.count_rows()) == ([], [], 0)
    assert bench.senders[0].sent == []
    assert not is_replay(post(bench, "one"))


def test_when_the_withdrawal_is_lost_too_the_key_leads_to_the_task(bench: ApiBench) -> None:
    bench.database.fail(NETWORK_LOST, "after", ALL_LOST)
    bench.database.fail(NETWORK_LOST, "before", limits.STORE_SENDS)
    assert post(bench, "one").status == 503
    (row,) = tasks(bench)
    assert is_replay(again := post(bench, "one"))
    assert key(data(again)["id"]) == row["id"]


class Interleaver:
    """Lets a test act between two D1 calls of one request."""

    def __init__(self, bench: ApiBench) -> None:
        self._bench, self._batch = bench, bench.database.batch
        self._gates: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        bench.database.batch = self._held  # type: ignore[method-assign]

    async def _held(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        gate = asyncio.Event()
        self._gates.put_nowait(gate)
        await gate.wait()
        return await self._batch(statements)

    def end(self) -> None:
        self._bench.database.batch = self._batch  # type: ignore[method-assign]

    async def gate(self) -> asyncio.Event:
        """Wait for the next D1 call, and return the function that lets it run."""
        return await self._gates.get()

    async def admit(self, count: int = 1) -> None:
        """Let the next D1 calls run, each to its end, with all work that follows from it."""
        for _ in range(count):
            (await self.gate()).set()
            await asyncio.sleep(0.001)


def submit_later(bench: ApiBench, body: object = BODY) -> "asyncio.Task[Reply]":
    request = BenchRequest("POST", URL, {"idempotency-key": "one"}, json.dumps(body).encode())
    return asyncio.ensure_future(handle(request, bench.api, CATALOGUE))


def test_a_task_that_a_twin_was_told_of_stays(bench: ApiBench) -> None:
    """A task stays if an equal request was answered with it, although all answers to the first request were lost."""

    async def race() -> tuple[Reply, Reply]:
        gates = Interleaver(bench)
        bench.database.fail(NETWORK_LOST, "after", ALL_LOST)
        first = submit_later(bench)
        await gates.admit(ALL_LOST)
        withdrawal = await gates.gate()
        second = submit_later(bench)
        await gates.admit(2)
        gates.end()
        withdrawal.set()
        return await first, await second

    first, second = bench.run(race())
    assert (first.status, is_replay(second)) == (503, True)
    (row,) = tasks(bench)
    assert row["id"] == key(data(second)["id"])
    wait(bench, bench.settings.lease_seconds)
    assert bench.run(bench.store.due(10)).idle == [row["id"]]


def test_a_stranger_under_the_key_keeps_no_task_from_being_taken_back(bench: ApiBench) -> None:
    async def race() -> tuple[Reply, Reply]:
        gates = Interleaver(bench)
        bench.database.fail(NETWORK_LOST, "after", ALL_LOST)
        first = submit_later(bench)
        await gates.admit(ALL_LOST)
        withdrawal = await gates.gate()
        stranger = submit_later(bench, body={"input": "x"})
        await gates.admit()
        gates.end()
        withdrawal.set()
        return await first, await stranger

    first, stranger = bench.run(race())
    assert first.status == 503
    assert refuses(stranger, 422, "idempotency_mismatch")
    assert (tasks(bench), submissions(bench)) == ([], [])


def test_a_task_erased_under_a_replay(bench: ApiBench) -> None:
    first = data(post(bench, "one"))

    async def race() -> Reply:
        gates = Interleaver(bench)
        replay = submit_later(bench)
        await gates.admit()
        look = await gates.gate()
        erasure = asyncio.ensure_future(bench.store.erase(key(first["id"])))
        await gates.admit()
        await erasure
        look.set()
        await gates.admit()
        return await replay

    reply = bench.run(race())
    assert not is_replay(reply)
    assert data(reply)["id"] != first["id"]
    assert len(tasks(bench)) == 1


@pytest.mark.parametrize("settings", [{"tasks_in_flight_most": 1}, {"characters_a_day_most": 30}])
def test_a_refused_request_gives_its_key_back(bench: ApiBench, settings: dict[str, Any]) -> None:
    """A submission that a tenant's limit refuses does not keep its idempotency key."""
    bench.limit(**settings)
    first = data(post(bench, "one"))
    for _ in range(2):
        assert refuses(post(bench, "two"), 429, "limit_reached")
        assert is_replay(post(bench, "one"))
        assert len(submissions(bench)) == 1
    assert refuses(post(bench, "one", {"input": "x" * 10}), 422, "idempotency_mismatch")
    bench.call("DELETE", first["links"]["self"])
    wait(bench, DAY)
    assert not is_replay(post(bench, "two"))


@pytest.mark.parametrize("name", ["x", "~!", '"quoted"', "x" * 255, "%00", "';--", "k=v;p", "8e03978e-40d5-43dd-bc93"])
def test_what_is_a_key(bench: ApiBench, name: str) -> None:
    assert not is_replay(post(bench, name))
    assert is_replay(post(bench, name))
    assert not is_replay(post(bench, (name + "y")[-255:]))


def test_only_submissions_look_at_it(bench: ApiBench) -> None:
    assert bench.call("GET", "/api/tasks", headers={"idempotency-key": "a b"}).status == 200
