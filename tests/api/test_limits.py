"""Limits of a tenant: its tasks in flight, its characters a day, and its share of the queue."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.calls.pace import rate_limit_seconds
from src.kernel.domain import limits
from src.kernel.domain.task import Route
from src.kernel.run.waits import OVERDUE
from src.kernel.store.claims import Release
from tests.support.api_bench import START_MS, ApiBench, BenchRequest, bearer, data, key
from tests.support.sqlite_d1 import NETWORK_LOST, When

DAY_MS = 86_400_000


def post(bench: ApiBench, text: str = "x", secret: str | None = None, **headers: str) -> Reply:
    return bench.call("POST", "/api/tasks", {"input": text}, headers | (bearer(secret) if secret else {}))


def retry(bench: ApiBench, task: dict[str, Any]) -> Reply:
    return bench.call("POST", f"{task['links']['self']}/retry")


def refused(reply: Reply, limit: str, retry_after: int) -> bool:
    if reply.status != 429:
        return False
    problem = data(reply)
    assert (problem["code"], problem["limit"], problem["status"]) == ("limit_reached", limit, 429)
    assert reply.headers["Retry-After"] == str(retry_after)
    return True


def crowded_out(reply: Reply) -> bool:
    """Return whether the request was refused because the tenant has too many tasks in flight."""
    return refused(reply, "tasks_in_flight", limits.IN_FLIGHT_RETRY_SECONDS)


def used_up(bench: ApiBench, reply: Reply) -> bool:
    return refused(reply, "characters_per_day", -(-(DAY_MS - bench.now_ms() % DAY_MS) // 1000))


def characters(bench: ApiBench, tenant: str = "local") -> int:
    rows = bench.database.rows("SELECT characters FROM daily_use WHERE tenant = ?", tenant)
    return int(str(rows[0]["characters"])) if rows else 0


def statements(bench: ApiBench) -> list[str]:
    noted: list[str] = []
    prepare = bench.database.prepare

    def note(sql: str) -> Any:
        noted.append(sql)
        return prepare(sql)

    bench.database.prepare = note  # type: ignore[method-assign]
    return noted


def _cancel(bench: ApiBench, task: dict[str, Any]) -> None:
    assert bench.call("POST", task["links"]["cancel"]).status == 200


def _erase(bench: ApiBench, task: dict[str, Any]) -> None:
    assert bench.call("DELETE", task["links"]["self"]).status == 204


def _expire(bench: ApiBench, task: dict[str, Any]) -> None:
    bench.pass_seconds(100)
    assert bench.run(bench.store.expire([key(task["id"])], OVERDUE, 1_000))


ENDS: dict[str, Callable[[ApiBench, dict[str, Any]], None]] = {
    "completed": lambda bench, task: bench.complete(task["id"]),
    "failed": lambda bench, task: bench.fail(task["id"]),
    "cancelled": _cancel,
    "expired": _expire,
    "erased": _erase,
}


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_retry_needs_room(bench: ApiBench, end: str) -> None:
    bench.limit(tasks_in_flight_most=1)
    ended = bench.submit()
    ENDS[end](bench, ended)
    other = bench.submit()
    before = bench.call("GET", ended["links"]["self"] + "?include=chunks").body
    assert crowded_out(retry(bench, ended))
    assert bench.call("GET", ended["links"]["self"] + "?include=chunks").body == before
    assert len(bench.senders[0].sent) == 2
    bench.complete(other["id"])
    assert retry(bench, ended).status == 202
    assert crowded_out(post(bench))


def test_racing_submissions_do_not_pass_the_limit(bench: ApiBench) -> None:
    bench.limit(tasks_in_flight_most=7)
    request = BenchRequest("POST", "http://h/api/tasks", {}, b'{"input": "x"}')

    async def race() -> list[Reply]:
        return await asyncio.gather(*[handle(request, bench.api, CATALOGUE) for _ in range(20)])

    replies = bench.run(race())
    assert sorted(reply.status for reply in replies) == [202] * 7 + [429] * 13
    assert len(bench.database.rows("SELECT 1 FROM tasks")) == len(bench.senders[0].sent) == 7


def test_a_new_day_starts_anew(bench: ApiBench) -> None:
    bench.limit(characters_a_day_most=5)
    assert post(bench, "x" * 5).status == 202
    bench.pass_seconds((DAY_MS - START_MS % DAY_MS - 1) / 1000)
    assert used_up(bench, post(bench, "x"))
    bench.pass_seconds(0.001)
    assert post(bench, "xxx").status == 202
    assert characters(bench) == 3
    assert used_up(bench, post(bench, "xxx"))
    bench.pass_seconds(3 * 86_400)
    assert post(bench, "x" * 5).status == 202


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_withdrawn_submission_does_not_count(bench: ApiBench, when: When) -> None:
    bench.limit(characters_a_day_most=5, tasks_in_flight_most=2)
    assert post(bench, "xx").status == 202
    bench.database.fail(NETWORK_LOST, when, 2 * limits.STORE_SENDS)
    assert post(bench, "xxx").status == 503
    assert characters(bench) == 2
    assert bench.count_rows() == 2  # the first task and its text
    assert post(bench, "xxx").status == 202


def test_nothing_is_paid_for_what_is_not_used(bench: ApiBench) -> None:
    noted, before = statements(bench), bench.database.batches
    bench.submit()
    assert (len(noted), bench.database.batches - before) == (2, 1)
    assert bench.count_rows() == 2
    assert bench.database.rows("SELECT 1 FROM submissions UNION ALL SELECT 1 FROM daily_use") == []


@pytest.mark.parametrize(
    ("settings", "headers", "count"),
    [
        ({"tasks_in_flight_most": 9}, {}, 3),
        ({"characters_a_day_most": 99}, {}, 4),
        ({"tasks_in_flight_most": 9, "characters_a_day_most": 99}, {}, 4),
        ({}, {"idempotency-key": "k"}, 7),
        ({"tasks_in_flight_most": 9, "characters_a_day_most": 99}, {"idempotency-key": "k"}, 8),
    ],
)
def test_what_is_used_is_paid_for_in_one_call(
    bench: ApiBench, settings: dict[str, Any], headers: dict[str, str], count: int
) -> None:
    bench.limit(**settings)
    noted, before = statements(bench), bench.database.batches
    assert post(bench, **headers).status == 202
    assert (len(noted), bench.database.batches - before) == (count, 1)
    assert len(bench.database.rows("SELECT 1 FROM submissions")) == len(headers)
    assert len(bench.database.rows("SELECT 1 FROM daily_use")) == ("characters_a_day_most" in settings)


@pytest.fixture
def shared() -> ApiBench:
    return ApiBench(keys=True, routes=(Route.QUEUE, Route.DURABLE_OBJECT))


def test_a_tenants_share_of_the_queue(shared: ApiBench) -> None:
    ours, theirs = shared.make_key(), shared.make_key(tenant="theirs")
    queue, objects = shared.senders
    made = [data(post(shared, secret=ours)) for _ in range(limits.QUEUE_SHARE + 3)]
    assert [task["route"] for task in made] == ["queue"] * limits.QUEUE_SHARE + ["durable-object"] * 3
    assert objects.sent == [task["id"] for task in made[limits.QUEUE_SHARE :]]
    other = data(post(shared, secret=theirs))
    assert (other["route"], queue.sent[-1]) == ("queue", other["id"])
    for task in made[:3]:
        shared.complete(task["id"])
    assert data(post(shared, secret=ours))["route"] == "durable-object"
    shared.complete(made[3]["id"])
    shared.complete(made[4]["id"])
    assert data(post(shared, secret=ours))["route"] == "queue"
    assert shared.database.rows("SELECT 1 FROM submissions UNION ALL SELECT 1 FROM daily_use") == []


def test_a_retry_has_its_share_too(shared: ApiBench) -> None:
    ours = shared.make_key()
    ended = data(post(shared, secret=ours))
    shared.fail(ended["id"])
    for _ in range(limits.QUEUE_SHARE):
        post(shared, secret=ours)
    reply = shared.call("POST", f"{ended['links']['self']}/retry", headers=bearer(ours))
    assert data(reply)["route"] == "durable-object"
    assert shared.senders[1].sent == [ended["id"]]


def test_an_object_that_refuses_leaves_the_queue(shared: ApiBench) -> None:
    ours = shared.make_key()
    shared.senders[1].refuses = True
    made = [data(post(shared, secret=ours)) for _ in range(limits.QUEUE_SHARE + 1)]
    assert shared.senders[0].sent[-1] == made[-1]["id"]


@pytest.mark.parametrize("routes", [(Route.QUEUE, Route.DIRECT), (Route.DURABLE_OBJECT,), (Route.DIRECT,)])
def test_without_both_there_is_nothing_to_share(routes: tuple[Route, ...]) -> None:
    made = ApiBench(routes=routes)
    noted = statements(made)
    for number in range(1, limits.QUEUE_SHARE + 3):
        assert made.submit("x")["route"] == routes[0]
        assert len(noted) == 2 * number


def test_tasks_that_wait_long_are_counted(bench: ApiBench) -> None:
    bench.limit(tasks_in_flight_most=1, lease_seconds=1.0, timeout_seconds=0.5)
    task = bench.submit()
    longest_ms = round(rate_limit_seconds(1e9, 0, chance=1.0) * 1000)
    bench.work(bench.claim(task["id"]), {}, Release(longest_ms, longest_ms + bench.settings.lease_ms))
    assert crowded_out(post(bench))
    bench.limit(lease_seconds=180.0, timeout_seconds=120.0)
    for _ in range(10):
        (row,) = bench.database.rows("SELECT wake_at FROM tasks")
        bench.pass_seconds(max(0, int(str(row["wake_at"])) - bench.now_ms()) / 1000)
        bench.run(bench.store.take_due(bench.run(bench.store.due(1)), bench.settings.lease_ms))
        assert crowded_out(post(bench))


def test_a_retry_of_what_cannot_be_retried_is_no_matter_of_limits(bench: ApiBench) -> None:
    bench.limit(tasks_in_flight_most=1)
    task = bench.submit()
    assert (retry(bench, task).status, data(retry(bench, task))["code"]) == (409, "not_retryable")
    _erase(bench, task)
    assert retry(bench, task).status == 404
