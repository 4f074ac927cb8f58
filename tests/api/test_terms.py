"""A client's terms for a task: its deadline, its budget of model calls, and the time before which no call starts."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.views import rfc3339
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import BUDGET_EXHAUSTED, DEADLINE_EXCEEDED, Route
from src.kernel.run.waits import exhausted
from src.kernel.store.claims import Fail, Finish, Release, Unclaimed
from src.kernel.store.d1 import D1Statement, Database
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, BenchRequest, bearer, data, key
from tests.support.invocations import new_sweep, task_store
from tests.support.scripted_model import ScriptedModel
from tests.support.sqlite_d1 import NETWORK_LOST


def read(bench: ApiBench, task: dict[str, Any], query: str = "") -> Any:
    reply = bench.call("GET", task["links"]["self"] + query)
    assert reply.status == 200, reply
    return data(reply)


def code(task: dict[str, Any]) -> str | None:
    return None if task["error"] is None else task["error"]["code"]


@pytest.mark.parametrize("seconds", [1, 1.5, 60, 1e3, limits.DEADLINE_SECONDS_MOST])
def test_deadlines_that_are_taken(bench: ApiBench, seconds: float) -> None:
    task = bench.submit(deadlineSeconds=seconds)
    assert read(bench, task) == task
    (row,) = bench.database.rows("SELECT deadline_ms, deadline_at - created_at AS left FROM tasks")
    assert row == {"deadline_ms": seconds * 1000, "left": seconds * 1000}


@pytest.mark.parametrize("calls", [3, limits.MODEL_CALLS_MOST])
def test_budgets_that_are_taken(bench: ApiBench, calls: int) -> None:
    task = bench.submit(maxModelCalls=calls)
    assert (task["maxModelCalls"], read(bench, task)) == (calls, task)


BAD = [
    *(("deadlineSeconds", text) for text in ("0", "0.999", "-1", "2592000.001", "1e9")),
    *(("deadlineSeconds", text) for text in ('"60"', "true", "[60]", "{}", '"1m"', '""')),
    *(("maxModelCalls", text) for text in ("0", "-1", "1000001", "1.5", '"2"', "true", "[1]")),
]


@pytest.mark.parametrize(("field", "text"), BAD)
def test_bounds_that_are_refused(bench: ApiBench, field: str, text: str) -> None:
    reply = bench.call("POST", "/api/tasks", b'{"input": "x", "%s": %s}' % (field.encode(), text.encode()))
    assert (reply.status, data(reply)["code"]) == (422, "invalid_fields")
    assert [error["field"] for error in data(reply)["errors"]] == [field]
    assert bench.count_rows() == 0


@pytest.mark.parametrize("working", [False, True])
def test_after_the_deadline_a_task_has_failed(bench: ApiBench, *, working: bool) -> None:
    task = bench.submit(deadlineSeconds=60)
    if working:
        bench.begin(task["id"], 1)
    bench.pass_seconds(59.999)
    assert code(read(bench, task)) is None
    bench.pass_seconds(0.001)
    reply = bench.call("GET", task["links"]["self"] + "?include=chunks")
    shown = data(reply)
    assert (shown["status"], shown["terminal"], code(shown)) == ("failed", True, DEADLINE_EXCEEDED)
    assert shown["error"]["retryable"] is True
    assert shown["finishedAt"] == shown["deadlineAt"]
    assert "Retry-After" not in reply.headers
    assert [chunk["output"] for chunk in shown["chunks"]] == ["output 0"][: int(working)]
    assert read(bench, task, "?include=chunks") == shown


def test_a_cancellation_right_after_the_deadline(bench: ApiBench) -> None:
    first, second = bench.submit(deadlineSeconds=60), bench.submit(deadlineSeconds=60)
    bench.pass_seconds(60)
    read(bench, second)
    replies = [bench.call("POST", task["links"]["cancel"]) for task in (first, second)]
    assert [reply.status for reply in replies] == [200, 409]
    assert [read(bench, task)["status"] for task in (first, second)] == ["cancelled", "failed"]


def test_an_exhausted_budget_shows_and_keeps_its_chunks(bench: ApiBench) -> None:
    task = exhausted_task(bench)
    shown = read(bench, task, "?include=chunks")
    assert (code(shown), shown["error"]["retryable"]) == (BUDGET_EXHAUSTED, False)
    assert [chunk["output"] for chunk in shown["chunks"]] == ["output 0", "output 1"]
    assert shown["usage"]["modelCalls"] == shown["maxModelCalls"] == 3


def exhausted_task(bench: ApiBench) -> dict[str, Any]:
    task = bench.submit(maxModelCalls=3)
    claim = bench.claim(task["id"])
    bench.work(claim, {0: "output 0", 1: "output 1"}, Fail(bench.settings.retention_ms, exhausted(3)))
    bench.database.rows("UPDATE tasks SET calls_settled = 3 WHERE id = ?", key(task["id"]))
    return task


@pytest.mark.parametrize("body", [b"", {}, {"maxModelCalls": None}, {"maxModelCalls": 1}, {"maxModelCalls": 3}])
def test_a_budget_that_ran_out_must_grow(bench: ApiBench, body: object) -> None:
    task = exhausted_task(bench)
    reply = bench.call("POST", task["links"]["retry"], body)
    assert (reply.status, data(reply)["code"]) == (409, "budget_exhausted")
    assert "has made 3 calls and needs at least 1 more" in data(reply)["detail"]
    assert read(bench, task)["status"] == "failed"


def test_a_larger_budget_puts_a_task_back(bench: ApiBench) -> None:
    task = exhausted_task(bench)
    reply = bench.call("POST", task["links"]["retry"], {"maxModelCalls": 4})
    assert (reply.status, data(reply)["maxModelCalls"], data(reply)["status"]) == (202, 4, "pending")
    again = bench.claim(task["id"])
    assert (again.options.max_calls, again.calls_settled, len(again.outputs)) == (4, 3, 2)


@pytest.mark.parametrize(("reduce", "least"), [("concat", 4), ("merge", 5)])
@pytest.mark.parametrize("how", ["fail", "cancel"])
def test_a_budget_that_cannot_do(bench: ApiBench, reduce: str, least: int, how: str) -> None:
    task = bench.submit(reduce=reduce)
    bench.begin(task["id"], 1)
    bench.database.rows("UPDATE tasks SET calls_settled = 2")
    if how == "cancel":
        bench.call("POST", task["links"]["cancel"])
    else:
        bench.database.rows(
            "UPDATE tasks SET status = 'failed', finished_at = 1, holder = NULL, lease_until = NULL, "
            "error_code = 'model_refused', error_message = 'no', error_retryable = 0"
        )
    reply = bench.call("POST", task["links"]["retry"], {"maxModelCalls": least - 1})
    assert (reply.status, data(reply)["code"]) == (422, "invalid_fields")
    (error,) = data(reply)["errors"]
    assert error["field"] == "maxModelCalls"
    assert f"at least {least}: 2 calls are spent" in error["message"]
    assert read(bench, task)["maxModelCalls"] is None
    assert bench.call("POST", task["links"]["retry"], {"maxModelCalls": least}).status == 202
    assert read(bench, task)["maxModelCalls"] == least


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), ({"maxModelCalls": 0}, 422), ({"maxModelCalls": "4"}, 422), ({"more": 1}, 422)],
)
def test_a_retry_whose_body_is_none(bench: ApiBench, body: object, status: int) -> None:
    task = bench.submit()
    bench.fail(task["id"])
    assert bench.call("POST", task["links"]["retry"], body).status == status
    assert read(bench, task)["status"] == "failed"


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks?dryRun=true"])
@pytest.mark.parametrize(("reduce", "least"), [("concat", 3), ("none", 3), ("merge", 4)])
def test_a_budget_below_the_minimum(bench: ApiBench, path: str, reduce: str, least: int) -> None:
    body = {"input": "one\n\ntwo\n\nthree and four", "reduce": reduce}
    reply = bench.call("POST", path, body | {"maxModelCalls": least - 1})
    assert reply.status == 422
    (error,) = data(reply)["errors"]
    assert error == {
        "field": "maxModelCalls",
        "message": f"must be at least {least}: the task needs that many calls without failures",
    }
    assert bench.count_rows() == 0
    assert bench.call("POST", path, body | {"maxModelCalls": least}).status in {200, 202}


def end(bench: ApiBench, how: str, task: dict[str, Any]) -> float:
    began = bench.loop.time()
    if how == "cancel":
        assert bench.call("POST", task["links"]["cancel"]).status == 200
    elif how == "cancel all":
        assert bench.call("POST", "/api/tasks/cancel", {}).status == 202
    else:
        assert bench.call("DELETE", task["links"]["self"]).status == 204
    return bench.loop.time() - began


@pytest.mark.parametrize("how", ["cancel", "delete"])
@pytest.mark.parametrize("passed", [0, 0.5, 1.999, 2, 60])
def test_the_answer_waits_until_no_announced_call_can_start(bench: ApiBench, how: str, passed: float) -> None:
    task = bench.submit()
    bench.pass_seconds(10)
    bench.begin(task["id"], 1)
    bench.pass_seconds(passed)
    assert end(bench, how, task) == pytest.approx(max(0, limits.START_SECONDS - passed))


@pytest.mark.parametrize("how", ["cancel", "delete"])
@pytest.mark.parametrize(("start_ms", "passed", "left"), [(2_000, 1, 1), (9_000, 0, 9), (9_000, 3, 6), (20_000, 1, 19)])
def test_the_answer_waits_for_the_window_that_was_announced(
    bench: ApiBench, how: str, start_ms: int, passed: float, left: float
) -> None:
    """On a slow database announced calls may start later than after two seconds."""
    task = bench.submit()
    bench.claim(task["id"], start_ms=start_ms, announce=1)
    bench.pass_seconds(passed)
    assert end(bench, how, task) == pytest.approx(left)


def test_a_clock_that_jumped_back_does_not_hold_the_answer_for_hours(bench: ApiBench) -> None:
    task = bench.submit()
    bench.begin(task["id"], 1)
    bench.database.rows("UPDATE tasks SET announced_at = announced_at + 15000")
    assert end(bench, "cancel", task) == pytest.approx(limits.START_SECONDS)


def test_a_cancellation_that_cannot_be_held_in_time_says_so(bench: ApiBench) -> None:
    task = bench.submit()
    bench.claim(task["id"], start_ms=20_000)
    bench.database.seconds = 5.0
    began = bench.loop.time()
    reply = bench.call("POST", task["links"]["cancel"])
    assert (reply.status, data(reply)["code"]) == (503, "database_unavailable")
    assert bench.loop.time() - began < limits.CANCEL_SECONDS_MOST
    bench.database.seconds = 0.0
    assert read(bench, task)["status"] == "cancelled"
    bench.pass_seconds(int(reply.headers["Retry-After"]))
    assert end(bench, "cancel", task) == 0


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_task_that_nobody_has_begun_is_ended_at_once(bench: ApiBench, how: str) -> None:
    assert end(bench, how, bench.submit()) == 0


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_repeating_it_does_not_get_around_the_wait(bench: ApiBench, how: str) -> None:
    task = bench.submit()
    bench.begin(task["id"], 1)

    async def impatient() -> float:
        request = BenchRequest("POST", f"http://h{task['links']['cancel']}")
        first = asyncio.ensure_future(handle(request, bench.api, CATALOGUE))
        await asyncio.sleep(0.5)
        if how == "cancel":
            again = await handle(request, bench.api, CATALOGUE)
        else:
            again = await handle(BenchRequest("DELETE", f"http://h{task['links']['self']}"), bench.api, CATALOGUE)
        assert again.status in {200, 204}
        finished_at = bench.loop.time()
        await first
        return finished_at

    assert bench.run(impatient()) == pytest.approx(limits.START_SECONDS)


@pytest.mark.parametrize("how", ["cancel", "cancel all", "delete"])
@pytest.mark.parametrize(
    ("claimed_by", "chunks", "seconds"),
    [
        ([Route.DURABLE_OBJECT], limits.LANES_FROM_CHUNKS, limits.START_SECONDS),
        ([Route.DURABLE_OBJECT], limits.LANES_FROM_CHUNKS - 1, 0),
        ([Route.QUEUE], limits.LANES_FROM_CHUNKS, limits.START_SECONDS),
        ([Route.QUEUE], limits.LANES_FROM_CHUNKS - 1, 0),
        ([Route.DIRECT], limits.LANES_FROM_CHUNKS, 0),
        ([Route.QUEUE, Route.DIRECT], limits.LANES_FROM_CHUNKS, limits.START_SECONDS),
        ([Route.DURABLE_OBJECT, Route.DIRECT], limits.LANES_FROM_CHUNKS, limits.START_SECONDS),
        ([Route.QUEUE, Route.DIRECT], limits.LANES_FROM_CHUNKS - 1, 0),
    ],
)
def test_lanes_are_waited_for(how: str, claimed_by: list[Route], chunks: int, seconds: float) -> None:
    bench = ApiBench(settings=Settings(provider="demo", chunk_chars=1), routes=(Route.DURABLE_OBJECT,))
    task = bench.submit("x" * chunks)
    for number, route in enumerate(claimed_by):
        claim = bench.claim(task["id"], holder=f"holder {number}", route=route)
        if route is not claimed_by[-1]:
            bench.work(claim, {}, Release(0, 180_000))
    bench.pass_seconds(60)
    assert end(bench, how, task) == pytest.approx(seconds)


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_cancellation_is_answered_in_time_whatever_the_database_does(bench: ApiBench, how: str) -> None:
    task = bench.submit()
    bench.begin(task["id"], 1)
    batch = bench.database.batch

    async def slow(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        await asyncio.sleep(9)
        return await batch(statements)

    bench.database.batch = slow  # type: ignore[method-assign]
    database = Database(bench.database, Meter(), seconds=limits.STORE_SECONDS_OF_REQUEST)
    bench.api = replace(bench.api, store=task_store(database))
    method, path = ("POST", task["links"]["cancel"]) if how == "cancel" else ("DELETE", task["links"]["self"])
    bench.database.fail(NETWORK_LOST, "after", times=2)
    reply = bench.call(method, path)
    assert (reply.status, data(reply)["code"]) == (503, "database_unavailable")
    assert bench.loop.time() == pytest.approx(limits.CANCEL_ANSWER_SECONDS)
    bench.database.batch = batch  # type: ignore[method-assign]
    assert bench.call(method, path).status in {200, 204}


def test_what_the_held_answer_shows(bench: ApiBench) -> None:
    task = bench.submit()
    claim = bench.claim(task["id"])

    async def both() -> Reply:
        held = asyncio.ensure_future(
            handle(BenchRequest("POST", f"http://h{task['links']['cancel']}"), bench.api, CATALOGUE)
        )
        await asyncio.sleep(1)
        bench.database.rows("UPDATE tasks SET calls_settled = 2 WHERE id = ?", claim.task_key)
        return await held

    reply = bench.run(both())
    assert json.loads(reply.body)["usage"]["modelCalls"] == 2


@pytest.mark.parametrize("then", ["waits", "is worked on", "completes", "is cancelled"])
def test_a_deletion_after_cancel_and_retry_is_held_too(bench: ApiBench, then: str) -> None:
    task = bench.submit()
    bench.begin(task["id"], 1)

    async def put_back() -> None:
        cancelled = asyncio.ensure_future(
            handle(BenchRequest("POST", f"http://h{task['links']['cancel']}"), bench.api, CATALOGUE)
        )
        await asyncio.sleep(0.25)
        assert (
            await handle(BenchRequest("POST", f"http://h{task['links']['self']}/retry"), bench.api, CATALOGUE)
        ).status == 202
        cancelled.cancel()

    bench.run(put_back())
    if then != "waits":
        claim = bench.claim(task["id"])
        if then == "completes":
            bench.work(claim, {0: "output 0", 1: "output 1", 2: "output 2"}, Finish(1_000_000))
        elif then == "is cancelled":
            bench.run(bench.store.cancel(key(task["id"]), 1_000_000))
    end(bench, "delete", task)
    # The last claim of the task counts as its latest announcement.
    assert bench.loop.time() == pytest.approx(limits.START_SECONDS + (0 if then == "waits" else 0.25))


HOUR = 3_600


@pytest.fixture
def scheduled() -> ApiBench:
    return ApiBench(settings=Settings(provider="demo", chunk_chars=10), provider=ScriptedModel())


def later(scheduled: ApiBench, seconds: float) -> str:
    return rfc3339(scheduled.now_ms() + round(seconds * 1000))


def run(scheduled: ApiBench, task_id: str) -> Any:
    return scheduled.run(scheduled.worker.run(key(task_id), Host(Route.QUEUE, 600.0)))


def sweep(scheduled: ApiBench) -> None:
    scheduled.run(new_sweep(scheduled.worker, scheduled.senders[:1]).run())


def sent(scheduled: ApiBench) -> int:
    return len(scheduled.senders[0].sent)


@pytest.mark.parametrize("path", ["/api/tasks", "/v1/responses"])
def test_no_call_starts_before(scheduled: ApiBench, path: str) -> None:
    at = later(scheduled, HOUR)
    body: dict[str, Any] = {"input": "one", "notBefore": at}
    if path == "/v1/responses":
        body = {"input": "one", "background": True, "onceover": {"notBefore": at}}
    made = data(scheduled.call("POST", path, body))
    task_id = made.get("onceover", {}).get("task", f"/{made['id']}").rpartition("/")[2]
    scheduled.settle()
    assert sent(scheduled) == 0
    shown = data(scheduled.call("GET", f"/api/tasks/{task_id}"))
    assert shown["waitingFor"] == {"reason": "scheduled", "until": at, "ahead": None}
    assert shown["request"]["notBefore"] == at
    assert isinstance(run(scheduled, task_id), Unclaimed)
    scheduled.pass_seconds(HOUR - 0.001)
    sweep(scheduled)
    assert sent(scheduled) == 0
    refused = run(scheduled, task_id)
    assert isinstance(refused, Unclaimed)
    assert refused.left_ms == 1
    scheduled.pass_seconds(0.001)
    sweep(scheduled)
    assert sent(scheduled) == 1
    run(scheduled, task_id)
    assert data(scheduled.call("GET", f"/api/tasks/{task_id}"))["status"] == "completed"


def test_a_past_time_means_now(scheduled: ApiBench) -> None:
    made = scheduled.submit("one", notBefore="1969-01-01T00:00:00Z")
    assert made["waitingFor"]["reason"] == "queued"
    assert sent(scheduled) == 1
    run(scheduled, made["id"])
    assert data(scheduled.call("GET", f"/api/tasks/{made['id']}"))["status"] == "completed"


@pytest.mark.parametrize("text", ["tomorrow", "2026-11-05", "2026-11-05T12:00:00", "", 7])
def test_another_text_is_refused(scheduled: ApiBench, text: object) -> None:
    """Only RFC 3339 with a zone is a time, and at most seven days ahead."""
    assert scheduled.call("POST", "/api/tasks", {"input": "one", "notBefore": text}).status in {400, 422}
    week = limits.NOT_BEFORE_SECONDS_MOST
    refused = scheduled.call("POST", "/api/tasks", {"input": "one", "notBefore": later(scheduled, week + 1)})
    assert (refused.status, data(refused)["errors"][0]["field"]) == (422, "notBefore")
    scheduled.submit("one", notBefore=later(scheduled, week))


def test_the_deadline_counts_from_it(scheduled: ApiBench) -> None:
    made = scheduled.submit("one", notBefore=later(scheduled, HOUR), deadlineSeconds=60)
    assert made["deadlineAt"] == later(scheduled, HOUR + 60)
    scheduled.pass_seconds(HOUR - 1)
    shown = data(scheduled.call("GET", f"/api/tasks/{made['id']}"))
    assert (shown["status"], shown["deadlineAt"]) == ("pending", made["deadlineAt"])
    scheduled.pass_seconds(62)
    assert data(scheduled.call("GET", f"/api/tasks/{made['id']}"))["error"]["code"] == "deadline_exceeded"


def test_a_retry_waits_for_it_again(scheduled: ApiBench) -> None:
    made = scheduled.submit("one", notBefore=later(scheduled, HOUR), deadlineSeconds=60)
    assert scheduled.call("POST", f"/api/tasks/{made['id']}/cancel").status == 200
    shown = data(scheduled.call("POST", f"/api/tasks/{made['id']}/retry"))
    assert (shown["waitingFor"]["reason"], shown["deadlineAt"]) == ("scheduled", made["deadlineAt"])
    assert isinstance(run(scheduled, made["id"]), Unclaimed)
    scheduled.pass_seconds(HOUR)
    run(scheduled, made["id"])
    assert data(scheduled.call("GET", f"/api/tasks/{made['id']}"))["status"] == "completed"


def test_an_idempotency_key_lasts_a_day_behind_it(scheduled: ApiBench) -> None:
    body = {"input": "one", "notBefore": later(scheduled, 24 * HOUR)}
    first = scheduled.call("POST", "/api/tasks", body, {"idempotency-key": "k"})
    scheduled.pass_seconds(47 * HOUR)
    again = scheduled.call("POST", "/api/tasks", body, {"idempotency-key": "k"})
    assert (data(again)["id"], again.headers["Idempotency-Replayed"]) == (data(first)["id"], "true")
    scheduled.pass_seconds(2 * HOUR)
    third = scheduled.call("POST", "/api/tasks", body, {"idempotency-key": "k"})
    assert data(third)["id"] != data(first)["id"]


def test_it_counts_as_a_task_in_flight_but_not_as_waiting(scheduled: ApiBench) -> None:
    for _ in range(limits.QUEUE_SHARE + 1):
        scheduled.submit("one", notBefore=later(scheduled, HOUR))
    made = scheduled.submit("one")
    scheduled.settle()
    assert made["route"] == "queue"
    scheduled.pass_seconds(HOUR / 2)
    run(scheduled, made["id"])
    metrics = scheduled.call("GET", "/api/metrics").body
    assert "onceover_oldest_pending_seconds 0\n" in metrics
    scheduled.limit(tasks_in_flight_most=limits.QUEUE_SHARE + 1)
    assert scheduled.call("POST", "/api/tasks", {"input": "one"}).status == 429


def test_a_batch_has_none(scheduled: ApiBench) -> None:
    reply = scheduled.call("POST", "/v1/batches", {"notBefore": later(scheduled, 1)}, bearer("none"))
    assert "notBefore" in reply.body
