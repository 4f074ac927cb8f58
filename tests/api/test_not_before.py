"""`notBefore`: no call starts before it, whatever asks; the deadline and the idempotency key count from it."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.api.base.views import rfc3339
from src.kernel.domain import limits
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.store.claims import Unclaimed
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, bearer, data, key
from tests.support.invocations import new_sweep
from tests.support.scripted_model import ScriptedModel

HOUR = 3_600


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    made = ApiBench(settings=Settings(provider="demo", chunk_chars=10), provider=ScriptedModel())
    yield made
    made.close()


def later(bench: ApiBench, seconds: float) -> str:
    """Return the time so many seconds from now."""
    return rfc3339(bench.now_ms() + round(seconds * 1000))


def run(bench: ApiBench, task_id: str) -> Any:
    """Let a host claim the task, and work on it."""
    return bench.run(bench.worker.run(key(task_id), Host(Route.QUEUE, 600.0)))


def sweep(bench: ApiBench) -> None:
    """Let cron's sweep run, with a queue."""
    bench.run(new_sweep(bench.worker, bench.senders[:1]).run())


def sent(bench: ApiBench) -> int:
    """Return how many messages the queue got."""
    return len(bench.senders[0].sent)


@pytest.mark.parametrize("path", ["/api/tasks", "/v1/responses"])
def test_no_call_starts_before(bench: ApiBench, path: str) -> None:
    """A claim before the time is refused, a millisecond before too. Then the sweep sends the task, and it ends."""
    at = later(bench, HOUR)
    body: dict[str, Any] = {"input": "one", "notBefore": at}
    if path == "/v1/responses":
        body = {"input": "one", "background": True, "onceover": {"notBefore": at}}
    made = data(bench.call("POST", path, body))
    task_id = made.get("onceover", {}).get("task", f"/{made['id']}").rpartition("/")[2]
    bench.settle()
    assert sent(bench) == 0
    shown = data(bench.call("GET", f"/api/tasks/{task_id}"))
    assert shown["waitingFor"] == {"reason": "scheduled", "until": at, "ahead": None}
    assert shown["request"]["notBefore"] == at
    assert isinstance(run(bench, task_id), Unclaimed)
    bench.pass_seconds(HOUR - 0.001)
    sweep(bench)
    assert sent(bench) == 0
    refused = run(bench, task_id)
    assert isinstance(refused, Unclaimed)
    assert refused.left_ms == 1
    bench.pass_seconds(0.001)
    sweep(bench)
    assert sent(bench) == 1
    run(bench, task_id)
    assert data(bench.call("GET", f"/api/tasks/{task_id}"))["status"] == "completed"


def test_a_past_time_means_now(bench: ApiBench) -> None:
    """A task with a time that has passed is dispatched at once, and waits in the queue like any other."""
    made = bench.submit("one", notBefore="1969-01-01T00:00:00Z")
    assert made["waitingFor"]["reason"] == "queued"
    assert sent(bench) == 1
    run(bench, made["id"])
    assert data(bench.call("GET", f"/api/tasks/{made['id']}"))["status"] == "completed"


@pytest.mark.parametrize("text", ["tomorrow", "2026-11-05", "2026-11-05T12:00:00", "", 7])
def test_another_text_is_refused(bench: ApiBench, text: object) -> None:
    """Only RFC 3339 with a zone is a time, and at most seven days ahead."""
    assert bench.call("POST", "/api/tasks", {"input": "one", "notBefore": text}).status in {400, 422}
    week = limits.NOT_BEFORE_SECONDS_MOST
    refused = bench.call("POST", "/api/tasks", {"input": "one", "notBefore": later(bench, week + 1)})
    assert (refused.status, data(refused)["errors"][0]["field"]) == (422, "notBefore")
    bench.submit("one", notBefore=later(bench, week))


def test_the_deadline_counts_from_it(bench: ApiBench) -> None:
    """A deadline that is shorter than the wait does not pass before the start, and passes after it."""
    made = bench.submit("one", notBefore=later(bench, HOUR), deadlineSeconds=60)
    assert made["deadlineAt"] == later(bench, HOUR + 60)
    bench.pass_seconds(HOUR - 1)
    shown = data(bench.call("GET", f"/api/tasks/{made['id']}"))
    assert (shown["status"], shown["deadlineAt"]) == ("pending", made["deadlineAt"])
    bench.pass_seconds(62)
    assert data(bench.call("GET", f"/api/tasks/{made['id']}"))["error"]["code"] == "deadline_exceeded"


def test_a_retry_waits_for_it_again(bench: ApiBench) -> None:
    """A task that was cancelled and retried before its time still starts no call before, and has its whole deadline."""
    made = bench.submit("one", notBefore=later(bench, HOUR), deadlineSeconds=60)
    assert bench.call("POST", f"/api/tasks/{made['id']}/cancel").status == 200
    shown = data(bench.call("POST", f"/api/tasks/{made['id']}/retry"))
    assert (shown["waitingFor"]["reason"], shown["deadlineAt"]) == ("scheduled", made["deadlineAt"])
    assert isinstance(run(bench, made["id"]), Unclaimed)
    bench.pass_seconds(HOUR)
    run(bench, made["id"])
    assert data(bench.call("GET", f"/api/tasks/{made['id']}"))["status"] == "completed"


def test_an_idempotency_key_lasts_a_day_behind_it(bench: ApiBench) -> None:
    """The key of a submission finds its task until a day after the start."""
    body = {"input": "one", "notBefore": later(bench, 24 * HOUR)}
    first = bench.call("POST", "/api/tasks", body, {"idempotency-key": "k"})
    bench.pass_seconds(47 * HOUR)
    again = bench.call("POST", "/api/tasks", body, {"idempotency-key": "k"})
    assert (data(again)["id"], again.headers["Idempotency-Replayed"]) == (data(first)["id"], "true")
    bench.pass_seconds(2 * HOUR)
    third = bench.call("POST", "/api/tasks", body, {"idempotency-key": "k"})
    assert data(third)["id"] != data(first)["id"]


def test_it_counts_as_a_task_in_flight_but_not_as_waiting(bench: ApiBench) -> None:
    """Scheduled tasks use up MAX_TASKS_IN_FLIGHT. They make no other task crowded, and are no old backlog."""
    for _ in range(limits.QUEUE_SHARE + 1):
        bench.submit("one", notBefore=later(bench, HOUR))
    made = bench.submit("one")
    bench.settle()
    assert made["route"] == "queue"
    bench.pass_seconds(HOUR / 2)
    run(bench, made["id"])
    metrics = bench.call("GET", "/api/metrics").body
    assert "onceover_oldest_pending_seconds 0\n" in metrics
    bench.limit(tasks_in_flight_most=limits.QUEUE_SHARE + 1)
    assert bench.call("POST", "/api/tasks", {"input": "one"}).status == 429


def test_a_batch_has_none(bench: ApiBench) -> None:
    """A batch refuses the field by name, and so does a misspelled one."""
    reply = bench.call("POST", "/v1/batches", {"notBefore": later(bench, 1)}, bearer("none"))
    assert "notBefore" in reply.body
