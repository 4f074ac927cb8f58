"""A task that waits shows this with `waitingFor`, `lastError` and `estimatedFinishAt`."""

from dataclasses import replace
from typing import Any

import pytest

from src.kernel.api.base.views import rfc3339
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.task import Failure, LastError, Route, Wait
from src.kernel.store.claims import Continue, Fail, Release
from tests.conformance.cases.steps import progress
from tests.support.api_bench import START_MS, ApiBench, data

MINUTE_MS = 60_000
QUOTA = "D1_ERROR: Your account has exceeded D1's free tier daily row write limit"
each_route = pytest.mark.parametrize("route", Route)


def read(bench: ApiBench, task: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = data(bench.call("GET", task["links"]["self"]))
    listed = next(one for one in data(bench.call("GET", "/api/tasks?limit=100"))["tasks"] if one["id"] == task["id"])
    wait = shown["waitingFor"]
    assert listed["waitingFor"] == (None if wait is None else wait | {"ahead": None})
    assert not {"lastError", "estimatedFinishAt"} & listed.keys()
    return shown


def at(seconds: float) -> str:
    return rfc3339(START_MS + round(seconds * 1000))


@each_route
@pytest.mark.parametrize("reason", ["model_away", "rate_limited", "backoff", "database"])
def test_a_task_that_was_given_back_says_why(bench: ApiBench, route: Route, reason: str):
    task = bench.submit()
    wait = Wait(reason, START_MS + 2 * MINUTE_MS)
    bench.work(bench.claim(task["id"], route=route), {}, Release(2 * MINUTE_MS, 5 * MINUTE_MS), wait=wait)
    shown = read(bench, task)
    assert shown["waitingFor"] == {"reason": reason, "until": at(120), "ahead": None}
    assert bench.call("GET", task["links"]["self"]).headers["Retry-After"] == "30"
    bench.pass_seconds(120)
    assert read(bench, task)["waitingFor"] == {"reason": "queued", "until": None, "ahead": None}


@each_route
@pytest.mark.parametrize("reason", ["model_away", "rate_limited", "backoff", "database"])
def test_a_worker_that_waits_says_why_and_dies(bench: ApiBench, route: Route, reason: str):
    task = bench.submit()
    taken = replace(bench.claim(task["id"], route=route), announced=frozenset())
    wait = Wait(reason, START_MS + 20_000)
    bench.work(taken, {}, Continue(3 * MINUTE_MS), wait=wait)
    assert read(bench, task)["waitingFor"] == {"reason": reason, "until": at(20), "ahead": None}
    bench.pass_seconds(30)
    shown = read(bench, task)["waitingFor"]
    assert shown == ({"reason": reason, "until": None, "ahead": None} if reason == "model_away" else None)
    bench.pass_seconds(61)
    assert read(bench, task)["waitingFor"] == {"reason": "lease", "until": at(180), "ahead": None}
    bench.pass_seconds(90)
    assert read(bench, task)["waitingFor"] == {"reason": "lease", "until": None, "ahead": None}


RESTS: dict[str, tuple[dict[str, Any], str]] = {
    "it started nothing": ({"idle_runs": 1}, "database"),
    "it looked in vain for a free cap": ({"idle_runs": 1, "wait": Wait("cost_limit", START_MS + 10_000)}, "cost_limit"),
    "it ended in an error": ({"stalls": 1}, "lease"),
}


@each_route
@pytest.mark.parametrize(("said", "reason"), RESTS.values(), ids=RESTS)
def test_a_run_that_rests_says_why(bench: ApiBench, route: Route, said: dict[str, Any], reason: str):
    task = bench.submit()
    bench.work(bench.claim(task["id"], route=route), {}, Release(10_000, MINUTE_MS), **said)
    assert read(bench, task)["waitingFor"] == {"reason": reason, "until": at(10), "ahead": None}


@each_route
def test_a_task_for_whose_outputs_there_is_no_room_waits_for_the_database(bench: ApiBench, route: Route):
    task = bench.submit()
    taken = bench.claim(task["id"], route=route)
    bench.work(taken, {}, Continue(MINUTE_MS), wait=Wait("backoff", START_MS + 500))
    assert bench.run(bench.store.stand_down(taken, progress(taken, step=9), Release(600_000, 660_000)))
    assert read(bench, task)["waitingFor"] == {"reason": "database", "until": at(600), "ahead": None}


@each_route
def test_a_day_whose_rows_are_used_up(bench: ApiBench, route: Route):
    task = bench.submit()
    bench.claim(task["id"], route=route)
    bench.database.fail(QUOTA, "before")
    assert data(bench.call("POST", "/api/tasks", {"input": "x"}))["code"] == "database_quota_exhausted"
    assert read(bench, task)["waitingFor"] is None  # calls may be out
    bench.pass_seconds(181)
    midnight = "2026-09-22T00:00:00.000Z"
    assert read(bench, task)["waitingFor"] == {"reason": "quota", "until": midnight, "ahead": None}
    bench.submit()
    assert read(bench, task)["waitingFor"]["reason"] == "lease"


@pytest.mark.parametrize("wait", [0, 2])
def test_a_late_task_is_read_though_it_cannot_be_helped(bench: ApiBench, wait: int):
    task = bench.submit()
    bench.pass_seconds(bench.settings.lease_seconds + limits.LATE_TASK_SECONDS)
    for _ in range(3):
        bench.database.fail(QUOTA, passing=1)  # the database allows the poll's read, but not its write
        reply = bench.call("GET", f"{task['links']['self']}?wait={wait}")
        assert (reply.status, data(reply)["waitingFor"]["reason"]) == (200, "quota")
        assert [line for line in bench.log_lines if "help_failed" in line][-1].count("database_quota_exhausted") == 1
    assert bench.senders[0].sent == [task["id"]]
    bench.call("GET", task["links"]["self"])
    assert bench.senders[0].sent == [task["id"]] * 2


@pytest.mark.parametrize("path", ["/api/tasks/{id}", "/api/tasks/{id}?wait=0", "/api/tasks", "/api/tasks/{id}/chunks"])
def test_a_task_past_its_deadline_is_read_though_its_end_cannot_be_written(bench: ApiBench, path: str):
    task = bench.submit(deadlineSeconds=60)
    bench.pass_seconds(61)
    bench.database.fail(QUOTA, passing=1)  # the database allows the list's read, but not the write that fails the task
    reply = bench.call("GET", path.format(id=task["id"]))
    assert reply.status == 200
    bench.call("GET", task["links"]["self"])
    assert read(bench, task)["error"]["code"] == "deadline_exceeded"


def test_a_quota_ends_with_its_day(bench: ApiBench):
    task = bench.submit()
    bench.database.fail(QUOTA, "before")
    bench.call("POST", "/api/tasks", {"input": "x"})
    assert read(bench, task)["waitingFor"]["reason"] == "quota"
    bench.pass_seconds(86_400 - START_MS // 1000 % 86_400)
    assert read(bench, task)["waitingFor"]["reason"] == "queued"


@each_route
def test_a_database_that_does_not_keep_up(bench: ApiBench, route: Route):
    task = bench.submit()
    bench.claim(task["id"], route=route)
    other = bench.submit()
    bench.pass_seconds(181)
    assert [read(bench, one)["waitingFor"]["reason"] for one in (task, other)] == ["lease", "queued"]
    bench.database.seconds = limits.OVERLOAD_SECONDS + 1
    for one in (task, other):
        shown = data(bench.call("GET", one["links"]["self"]))["waitingFor"]
        assert shown == {"reason": "database", "until": None, "ahead": None}


@each_route
def test_calls_that_must_have_ended_were_not_recorded(bench: ApiBench, route: Route):
    bench.limit(timeout_seconds=60.0)
    task = bench.submit()
    assert len(bench.claim(task["id"], route=route, announce=3, start_ms=2_000).announced) == 3
    bench.pass_seconds(2 + 60 + limits.LANE_SLACK_SECONDS + limits.LINGER_SECONDS_MOST)
    assert read(bench, task)["waitingFor"] is None
    bench.pass_seconds(0.1)
    assert read(bench, task)["waitingFor"] == {"reason": "lease", "until": at(180), "ahead": None}


def test_the_tasks_ahead_are_counted_after_a_while_and_not_without_end(bench: ApiBench):
    tasks = [bench.submit() for _ in range(limits.AHEAD_COUNTED_MOST)]
    bench.complete(tasks[0]["id"])
    assert read(bench, tasks[9])["waitingFor"] == {"reason": "queued", "until": None, "ahead": None}
    bench.pass_seconds(5)
    assert read(bench, tasks[9])["waitingFor"] == {"reason": "queued", "until": None, "ahead": 8}
    bench.submit()
    assert read(bench, tasks[9])["waitingFor"]["ahead"] == 8
    bench.complete(tasks[1]["id"])
    bench.submit()
    assert read(bench, tasks[9])["waitingFor"]["ahead"] == 7
    bench.submit()
    assert data(bench.call("GET", tasks[9]["links"]["self"]))["waitingFor"]["ahead"] is None


@pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
def test_a_retry_is_news(bench: ApiBench, bulk: bool):
    task = bench.submit()
    failure = Failure(TaskCode.MODEL_UNAVAILABLE, "the provider answered 503", True)
    bench.work(bench.claim(task["id"]), {}, Fail(bench.settings.retention_ms, failure))
    bench.pass_seconds(86_400)
    path = "/api/tasks/retry" if bulk else task["links"]["retry"]
    assert bench.call("POST", path, {}).status == 202
    assert bench.call("GET", task["links"]["self"]).headers["Retry-After"] == "1"
    bench.pass_seconds(7)
    assert bench.call("GET", task["links"]["self"]).headers["Retry-After"] == "7"


def test_the_last_error_stays_until_a_call_succeeds(bench: ApiBench):
    task = bench.submit()
    taken = bench.claim(task["id"])
    error = LastError(TaskCode.MODEL_UNAVAILABLE, "the provider answered 503", START_MS + 4_000, 1, 3, START_MS)
    bench.work(taken, {}, Continue(3 * MINUTE_MS), last_error=error)
    assert read(bench, task)["lastError"] == {
        "code": "model_unavailable",
        "message": "the provider answered 503",
        "at": at(4),
        "chunk": 1,
        "calls": 3,
    }
    bench.work(taken, {0: "x"}, Continue(3 * MINUTE_MS), pace_ms=1_500)
    shown = read(bench, task)
    assert shown["lastError"] is None
    assert shown["estimatedFinishAt"] == at(3)  # two calls are left


def test_an_error_with_more_in_it_is_read(bench: ApiBench):
    """A stored `lastError` with unknown members can be read; newer code may have written it before a rollback."""
    task = bench.submit()
    taken = bench.claim(task["id"])
    error = LastError(TaskCode.MODEL_UNAVAILABLE, "the provider answered 503", START_MS, 1, 3, START_MS)
    bench.work(taken, {}, Continue(3 * MINUTE_MS), last_error=error)
    bench.database.rows("UPDATE tasks SET last_error = json_set(last_error, '$.provider', 'p')")
    assert read(bench, task)["lastError"]["calls"] == 3
