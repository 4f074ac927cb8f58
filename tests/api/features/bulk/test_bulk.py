"""Many tasks at once: `POST /api/tasks/retry` and `POST /api/tasks/cancel`."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.keys import Scope
from src.kernel.domain.task import Failure, Route
from src.kernel.run.waits import exhausted
from src.kernel.store.claims import Continue, Fail
from tests.support.api_bench import ApiBench, bearer, data, key
from tests.support.sqlite_d1 import NETWORK_LOST, When


def retry(bench: ApiBench, **fields: object) -> Reply:
    return bench.call("POST", "/api/tasks/retry", fields)


def cancel(bench: ApiBench, **fields: object) -> Reply:
    return bench.call("POST", "/api/tasks/cancel", fields)


def failed(bench: ApiBench, code: TaskCode = TaskCode.MODEL_UNAVAILABLE, **fields: Any) -> dict[str, Any]:
    """Submit a task of three chunks, a second younger than the one before, and let its second chunk fail."""
    bench.pass_seconds(1)
    task = bench.submit(**fields)
    failure = Failure(code, "the model server answered 503", True)
    bench.work(bench.claim(task["id"]), {0: "output 0"}, Fail(bench.settings.retention_ms, failure), failed=failure)
    return task


def statuses(bench: ApiBench, *tasks: dict[str, Any]) -> list[str]:
    return [data(bench.call("GET", task["links"]["self"]))["status"] for task in tasks]


def test_failed_tasks_are_put_back_and_others_are_not(bench: ApiBench) -> None:
    ours = [failed(bench), failed(bench, TaskCode.MODEL_REFUSED)]
    pending, completed, cancelled = bench.submit(), bench.submit(), bench.submit()
    bench.complete(completed["id"])
    assert bench.call("POST", cancelled["links"]["cancel"]).status == 200
    bench.senders[0].sent.clear()
    reply = retry(bench)
    assert (reply.status, data(reply)) == (202, {"retried": 2, "more": False})
    assert bench.senders[0].sent == [task["id"] for task in ours]
    assert statuses(bench, *ours, pending, completed, cancelled) == [*(["pending"] * 3), *("completed", "cancelled")]
    again = data(bench.call("GET", ours[0]["links"]["self"]))
    assert (again["progress"]["completed"], again["error"], again["attempts"]) == (1, None, 2)
    left = "SELECT 1 FROM failures WHERE attempts + counted + calls + final > 0 OR rests_until + held IS NOT NULL"
    assert bench.database.rows(left) == []


def test_a_repetition_puts_nothing_back_again(bench: ApiBench) -> None:
    failed(bench)
    assert data(retry(bench)) == {"retried": 1, "more": False}
    assert data(retry(bench)) == {"retried": 0, "more": False}


def test_a_retry_chooses_by_code_and_time(bench: ApiBench) -> None:
    first, second, third = failed(bench), failed(bench, TaskCode.MODEL_TIMEOUT), failed(bench)
    assert data(retry(bench, createdAfter=first["createdAt"], createdBefore=third["createdAt"]))["retried"] == 1
    assert statuses(bench, first, second, third) == ["failed", "pending", "failed"]
    assert data(retry(bench, errorCode="model_timeout"))["retried"] == 0
    assert data(retry(bench, errorCode="model_unavailable", createdAfter=first["createdAt"]))["retried"] == 1
    assert statuses(bench, first, third) == ["failed", "pending"]
    assert data(retry(bench, errorCode=None, createdAfter=None, dryRun=False))["retried"] == 1


def test_at_most_a_hundred_are_put_back_and_more_is_said(bench: ApiBench) -> None:
    tasks = [failed(bench) for _ in range(limits.BULK_TASKS_MOST + 1)]
    assert data(retry(bench)) == {"retried": limits.BULK_TASKS_MOST, "more": True}
    assert statuses(bench, tasks[0], tasks[-2], tasks[-1]) == ["pending", "pending", "failed"]
    assert data(retry(bench)) == {"retried": 1, "more": False}


def test_a_dry_run_counts_tasks_and_calls_and_changes_nothing(bench: ApiBench) -> None:
    failed(bench)
    failed(bench, reduce="merge")
    failed(bench, maxModelCalls=7)
    before = bench.database.rows("SELECT * FROM tasks")
    reply = retry(bench, dryRun=True)
    wanted = {"tasks": 3, "minimumCalls": 2 + 3 + 2, "maximumCalls": 3 * 2 + 3 * (2 + 2) + 2, "more": False}
    assert (reply.status, data(reply)) == (200, wanted)
    nothing = dict.fromkeys(wanted, 0) | {"more": False}
    assert data(retry(bench, dryRun=True, errorCode="model_timeout")) == nothing
    assert bench.database.rows("SELECT * FROM tasks") == before


def test_a_task_without_budget_is_left_and_named(bench: ApiBench) -> None:
    task = bench.submit(maxModelCalls=3)
    bench.work(bench.claim(task["id"]), {0: "output 0"}, Fail(bench.settings.retention_ms, exhausted(3)))
    assert data(retry(bench)) == {"retried": 0, "more": False}
    assert data(retry(bench, dryRun=True))["tasks"] == 0
    reply = retry(bench, errorCode="budget_exhausted")
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, "errorCode")


def test_a_retry_stays_within_the_tenants_limit(bench: ApiBench) -> None:
    tasks = [failed(bench) for _ in range(3)]
    bench.submit()
    bench.limit(tasks_in_flight_most=3)
    assert data(retry(bench)) == {"retried": 2, "more": True}
    reply = retry(bench)
    assert (reply.status, data(reply)["limit"]) == (429, "tasks_in_flight")
    assert statuses(bench, *tasks) == ["pending", "pending", "failed"]


def test_one_direct_run_is_begun(bench: ApiBench) -> None:
    tasks = [failed(bench) for _ in range(3)]
    direct = bench.senders[1]
    bench.senders[0].refuses = True
    assert direct.route is Route.DIRECT
    direct.sent.clear()
    assert data(retry(bench))["retried"] == 3
    assert direct.sent == [tasks[0]["id"]]
    assert len(bench.run(bench.store.due(10)).idle) == 2
    assert sum('"made_due"' in line for line in bench.log_lines) == 1


def test_a_task_alone_leaves_none_to_be_made_due(bench: ApiBench) -> None:
    failed(bench)
    bench.senders[0].refuses = True
    assert data(retry(bench))["retried"] == 1
    assert not any('"made_due"' in line for line in bench.log_lines)


@pytest.mark.parametrize("when", ["before", "after"])
def test_lost_answers_count_no_task_twice_or_not_at_all(bench: ApiBench, when: When) -> None:
    failed(bench)
    bench.database.fail(NETWORK_LOST, when, 1, passing=1)
    assert data(retry(bench)) == {"retried": 1, "more": False}
    (row,) = bench.database.rows("SELECT generation FROM tasks")
    assert row == {"generation": 1}


def test_tasks_that_go_on_are_cancelled_and_others_are_not(bench: ApiBench) -> None:
    pending, working, done = bench.submit(), bench.submit(), bench.submit()
    bench.begin(working["id"], 1)
    bench.complete(done["id"])
    other = failed(bench)
    reply = cancel(bench)
    assert (reply.status, data(reply)) == (202, {"cancelled": 2, "more": False})
    assert statuses(bench, pending, working, done, other) == ["cancelled", "cancelled", "completed", "failed"]
    assert data(cancel(bench)) == {"cancelled": 0, "more": False}


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_a_cancellation_chooses_by_status_and_time(bench: ApiBench, status: str) -> None:
    tasks = []
    for _ in range(2):
        bench.pass_seconds(1)
        tasks += [bench.submit(), bench.submit()]
        bench.begin(tasks[-1]["id"], 1)
    assert data(cancel(bench, status=status, dryRun=True)) == {"tasks": 2, "more": False}
    assert data(cancel(bench, status=status, createdAfter=tasks[0]["createdAt"]))["cancelled"] == 1
    before = ["pending", "processing"]
    after = ["cancelled" if one == status else one for one in before]
    assert statuses(bench, *tasks) == [*before, *after]


def test_no_call_starts_after_the_answer(bench: ApiBench) -> None:
    task = bench.submit()
    claim = bench.claim(task["id"])
    bench.work(claim, {}, Continue(180_000, start_ms=5_000))
    bench.database.rows("UPDATE tasks SET announced_at = ?, start_ms = 5000", bench.now_ms())
    began = bench.loop.time()
    assert data(cancel(bench)) == {"cancelled": 1, "more": False}
    assert bench.loop.time() - began >= 5
    other = bench.submit()
    bench.claim(other["id"])
    bench.database.rows("UPDATE tasks SET announced_at = ?, start_ms = 20000", bench.now_ms() + 10_000)
    bench.database.seconds = 1.5
    reply = cancel(bench)
    assert (reply.status, data(reply)["code"]) == (503, "database_unavailable")
    bench.database.seconds = 0.0
    assert statuses(bench, other) == ["cancelled"]


def on_objects(bench: ApiBench, count: int) -> list[str]:
    tasks = [bench.submit("x")["id"] for _ in range(count)]
    for task in tasks:
        bench.begin(task, 0)
    bench.database.rows("UPDATE tasks SET route = 'durable-object', announced_at = 1 RETURNING id")
    return [key(task) for task in tasks]


def test_objects_are_told_within_the_invocations_allowance(bench: ApiBench) -> None:
    """A bulk cancellation notifies objects six at a time, while the invocation has subrequests and time left."""
    at_once, most_at_once = 0, 0

    async def tell(task_key: str, fence: int) -> None:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(at_once, most_at_once)
        await asyncio.sleep(limits.TELL_SECONDS)
        at_once -= 1
        bench.told.append((TaskKey(task_key), fence))

    bench.limit(plan="free")
    bench.api = replace(bench.api, tell_object=tell)
    on_objects(bench, 50)
    spent = bench.api.submission.meter.subrequests = 20
    assert data(cancel(bench))["cancelled"] == 50
    assert len(bench.told) == limits.SUBREQUESTS["free"] - spent - 2
    assert most_at_once == 6
    on_objects(bench, 100)
    bench.api.submission.meter.subrequests = 0
    bench.limit(plan="paid")
    bench.told.clear()
    began = bench.loop.time()
    assert data(cancel(bench))["cancelled"] == 100
    assert bench.loop.time() - began <= limits.CANCEL_SECONDS_MOST
    assert 6 <= len(bench.told) < 100


def test_a_tenants_requests_reach_its_own_tasks_only(keyed: ApiBench) -> None:
    ours, theirs = bearer(keyed.make_key()), bearer(keyed.make_key(tenant="theirs"))
    task = data(keyed.call("POST", "/api/tasks", {"input": "one\n\ntwo"}, ours))
    assert data(keyed.call("POST", "/api/tasks/cancel", {}, theirs)) == {"cancelled": 0, "more": False}
    assert data(keyed.call("POST", "/api/tasks/cancel", {"dryRun": True}, theirs))["tasks"] == 0
    keyed.fail(task["id"])
    assert data(keyed.call("POST", "/api/tasks/retry", {}, theirs)) == {"retried": 0, "more": False}
    assert data(keyed.call("POST", "/api/tasks/retry", {"dryRun": True}, theirs))["tasks"] == 0
    assert data(keyed.call("POST", "/api/tasks/retry", {}, ours))["retried"] == 1
    reader = bearer(keyed.make_key(Scope.READ))
    assert keyed.call("POST", "/api/tasks/cancel", {}, reader).status == 403


@pytest.mark.parametrize("path", ["/api/tasks/retry", "/api/tasks/cancel"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"createdAfter": "yesterday"}', "createdAfter"),
        ('{"createdBefore": 17}', "createdBefore"),
        ('{"dryRun": "yes"}', "dryRun"),
        ('{"errorCode": "not_a_code", "status": "failed"}', None),
        ('{"limit": 5}', "limit"),
    ],
)
def test_what_is_refused(bench: ApiBench, path: str, body: str, field: str | None) -> None:
    failed(bench)
    bench.submit()
    reply = bench.call("POST", path, body.encode())
    assert reply.status == 422
    assert field is None or [error["field"] for error in data(reply)["errors"]] == [field]
    assert [row["status"] for row in bench.database.rows("SELECT status FROM tasks ORDER BY id")] == [
        *("failed", "pending")
    ]


@pytest.mark.parametrize("path", ["/api/tasks/retry", "/api/tasks/cancel"])
def test_a_body_is_needed(bench: ApiBench, path: str) -> None:
    """A bulk request without a body is refused, so that a missing body never means all tasks."""
    bench.submit()
    assert bench.call("POST", path).status == 400
    assert len(bench.database.rows("SELECT 1 FROM tasks WHERE status = 'pending'")) == 1


def test_each_task_has_a_line_and_the_request_one_more(bench: ApiBench) -> None:
    ours = failed(bench)
    bench.pass_seconds(1)
    going = bench.submit()
    bench.log_lines.clear()
    bench.call("POST", "/api/tasks/retry", {"errorCode": "model_unavailable"}, {"x-request-id": "r"})
    bench.call("POST", "/api/tasks/cancel", {"createdAfter": ours["createdAt"]}, {"x-request-id": "c"})
    lines = [json.loads(line) for line in bench.log_lines]
    of_bulk = [line for line in lines if line["event"] != "dispatched"]
    assert of_bulk == [
        {"event": "retried", "task": ours["id"], "tenant": "local", "bulk": True, "request": "r"},
        {"event": "retried_in_bulk", "tenant": "local", "code": "model_unavailable"}
        | {"tasks": 1, "more": False, "request": "r"},
        {"event": "cancelled", "task": going["id"], "tenant": "local", "bulk": True, "request": "c"},
        {"event": "cancelled_in_bulk", "tenant": "local", "tasks": 1, "more": False, "request": "c"},
    ]


def test_a_refused_route_leaves_the_tasks_due(bench: ApiBench) -> None:
    tasks = [failed(bench) for _ in range(3)]
    for sender in bench.senders:
        sender.refuses = True
    assert data(retry(bench))["retried"] == 3
    due = bench.run(bench.store.due(10))
    assert sorted(key.partition(":")[2] for key in due.idle) == sorted(task["id"] for task in tasks)


def test_a_dry_run_counts_the_calls_that_ask_again(bench: ApiBench) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}, "required": ["a"]}
    failed(bench, outputSchema={**schema, "additionalProperties": False})
    assert data(retry(bench, dryRun=True))["maximumCalls"] == 2 * (3 + 1)
