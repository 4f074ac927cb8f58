"""Repeated submissions, by Idempotency-Key and by an SDK's count: one task, through races and lost answers."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey, split_task_key
from src.kernel.domain.task import Task
from src.kernel.store.d1 import D1Statement
from tests.support.api_bench import ApiBench, BenchRequest, bearer, data, key
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
    for times in range(1, limits.STORE_SENDS):
        bench.database.fail(message, when, times)
        assert not is_replay(post(bench, f"key {times}".replace(" ", "-")))
    assert len(tasks(bench)) == len(submissions(bench)) == len(bench.senders[0].sent) == limits.STORE_SENDS - 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_left_of_a_503(bench: ApiBench, when: When) -> None:
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
    bench.pass_seconds(bench.settings.lease_seconds)
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
    bench.limit(**settings)
    first = data(post(bench, "one"))
    for _ in range(2):
        assert refuses(post(bench, "two"), 429, "limit_reached")
        assert is_replay(post(bench, "one"))
        assert len(submissions(bench)) == 1
    assert refuses(post(bench, "one", {"input": "x" * 10}), 422, "idempotency_mismatch")
    bench.call("DELETE", first["links"]["self"])
    bench.pass_seconds(DAY)
    assert not is_replay(post(bench, "two"))


@pytest.mark.parametrize("name", ["x", "~!", '"quoted"', "x" * 255, "%00", "';--", "k=v;p", "8e03978e-40d5-43dd-bc93"])
def test_what_is_a_key(bench: ApiBench, name: str) -> None:
    assert not is_replay(post(bench, name))
    assert is_replay(post(bench, name))
    assert not is_replay(post(bench, (name + "y")[-255:]))


def test_only_submissions_look_at_it(bench: ApiBench) -> None:
    assert bench.call("GET", "/api/tasks", headers={"idempotency-key": "a b"}).status == 200


ONCE = {"idempotency-key": "one"}
REQUEST = BenchRequest("POST", "http://localhost:8787/api/tasks", ONCE, b'{"input":"one"}')


@pytest.mark.parametrize(("erasures", "status"), [(1, 202), (2, 202), (3, 503)])
def test_a_submission_outlives_two_erasures_of_the_task_with_its_key(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch, erasures: int, status: int
) -> None:
    bench.send(REQUEST)
    read, erased = bench.store.task, list[str]()

    async def task(task_key: TaskKey) -> Task | None:
        if len(erased) < erasures:
            await bench.store.erase(task_key)
            erased.append(split_task_key(task_key)[1])
            if len(erased) < erasures:
                assert (await handle(REQUEST, bench.api, CATALOGUE)).status == 202
        return await read(task_key)

    monkeypatch.setattr(bench.store, "task", task)
    reply = bench.send(REQUEST)
    assert (reply.status, "Idempotency-Replayed" in reply.headers, len(set(erased))) == (status, False, erasures)
    left = [split_task_key(TaskKey(row["id"]))[1] for row in bench.database.rows("SELECT id FROM tasks")]
    assert left == ([data(reply)["id"]] if status == 202 else [])


RESENT = {"background": True, "input": "one\n\ntwo\n\nthree and four", "metadata": {"a": "1"}}
MOST = limits.RESEND_SECONDS_MOST


def resend(bench: ApiBench, count: object = None, body: object = RESENT, **headers: str) -> Reply:
    said = {} if count is None else {"x-stainless-retry-count": str(count)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return bench.call("POST", "/v1/responses", body, said | named)


def name(reply: Reply) -> str:
    assert reply.status == 200, reply
    found: str = data(reply)["id"]
    return found


def joined(reply: Reply) -> bool:
    assert reply.status == 200, reply
    return reply.headers.get("Idempotency-Replayed") == "true"


def rows(bench: ApiBench) -> tuple[int, int]:
    counts = [len(bench.database.rows(f"SELECT * FROM {table}")) for table in ("tasks", "submissions")]  # noqa: S608
    return counts[0], counts[1]


def test_a_repetition_finds_its_task(bench: ApiBench) -> None:
    first = resend(bench, 0)
    again, once_more = resend(bench, 1), resend(bench, 2)
    assert [name(again), name(once_more)] == [name(first)] * 2
    assert [joined(reply) for reply in (first, again, once_more)] == [False, True, True]
    assert bench.senders[0].sent == [name(first).removeprefix("resp_")]
    assert rows(bench) == (1, 1)


@pytest.mark.parametrize("count", [None, 0, "0", "", "-1", "1.5", "many", "٣", "9999"])
def test_what_is_no_repetition_joins_nothing(bench: ApiBench, count: object) -> None:
    first, second = resend(bench, count), resend(bench, count)
    assert name(first) != name(second)
    assert not joined(second)
    assert rows(bench) == (2, 2)


def test_another_body_joins_nothing(bench: ApiBench) -> None:
    first = resend(bench, 0)
    assert name(resend(bench, 1, RESENT | {"input": "other"})) != name(first)
    turned = {field: RESENT[field] for field in reversed(RESENT)}
    assert name(resend(bench, 1, turned)) == name(first)


@pytest.mark.parametrize(
    ("headers", "count", "seconds"),
    [
        ({}, 1, 730.0),
        ({}, 2, MOST),
        ({"x-stainless-read-timeout": "20"}, 1, 150.0),
        ({"x-stainless-read-timeout": "20.5"}, 2, 301.0),
        ({"x-stainless-timeout": "60"}, 1, 190.0),
        ({"x-stainless-timeout": "60"}, 3, 570.0),
        ({"x-stainless-read-timeout": "none"}, 1, 730.0),
        ({"x-stainless-read-timeout": "100000"}, 1, MOST),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_the_window(bench: ApiBench, headers: dict[str, str], count: int, seconds: float, late: bool) -> None:
    """A repetition joins what is younger than its count times the SDK's timeout plus 130 s, at most 20 minutes."""
    first = resend(bench, 0)
    bench.pass_seconds(seconds + (0.01 if late else -0.01))
    again = bench.call("POST", "/v1/responses", RESENT, {"x-stainless-retry-count": str(count)} | headers)
    assert (name(again) == name(first)) == (not late)


def test_a_key_settles_it(bench: ApiBench) -> None:
    first = resend(bench, 0, idempotency_key="mine")
    assert name(resend(bench, 1)) != name(first)
    bench.pass_seconds(MOST + 1)
    assert name(resend(bench, 0, idempotency_key="mine")) == name(first)
    other = resend(bench, 1, RESENT | {"input": "other"}, idempotency_key="mine")
    assert (other.status, data(other)["error"]["code"]) == (422, "idempotency_mismatch")


def test_no_key_of_a_client_is_a_row_of_joining(bench: ApiBench) -> None:
    resend(bench, 0)
    ((row,),) = [bench.database.rows("SELECT id FROM submissions")]
    taken = row["id"].removeprefix("local:")
    refused = resend(bench, 0, idempotency_key=taken)
    assert (refused.status, data(refused)["error"]["code"]) == (400, "bad_idempotency_key")


def test_keys_do_not_join(keyed: ApiBench) -> None:
    mine, second, theirs = keyed.make_key(), keyed.make_key(), keyed.make_key(tenant="other")
    first = resend(keyed, 0, **bearer(mine))
    assert name(resend(keyed, 1, **bearer(second))) != name(first)
    assert name(resend(keyed, 1, **bearer(theirs))) != name(first)
    assert name(resend(keyed, 1, **bearer(mine))) == name(first)


def written(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, send: Any) -> int:
    """Count the rows that a submission writes, with index entries, by D1's rules."""
    rows: list[int] = []
    batch = bench.database.batch

    async def counted(statements: Any) -> Any:
        results = await batch(statements)
        rows.extend(result["meta"]["rows_written"] for result in results)  # type: ignore[index]
        return results

    monkeypatch.setattr(bench.database, "batch", counted)
    send()
    monkeypatch.undo()
    return sum(rows)


def test_what_it_costs(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    native = written(bench, monkeypatch, bench.submit)
    assert written(bench, monkeypatch, lambda: resend(bench, 0)) == native + 1
    assert written(bench, monkeypatch, lambda: resend(bench, 1)) == 1
    assert written(bench, monkeypatch, lambda: resend(bench, 0, idempotency_key="one")) == native + 1


@pytest.mark.parametrize("sends", range(1, limits.STORE_SENDS))
@pytest.mark.parametrize("when", ["after", "later"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_write_that_is_sent_again(bench: ApiBench, count: int, when: Any, sends: int) -> None:
    first = name(resend(bench, 0)) if count else None
    bench.database.fail(NETWORK_LOST, when, sends)
    found = name(resend(bench, count))
    bench.run(bench.database.land())
    assert rows(bench) == (1, 1)
    assert found == (first or found)
    assert name(resend(bench, count + 1)) == found
