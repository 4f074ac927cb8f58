"""`/api/tenants/{name}/limits`: an operator's cap on what a tenant's calls may cost in a month."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.domain.prices import Price
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, data, key
from tests.support.invocations import new_sweep
from tests.support.scripted_model import ScriptedModel

PRICE = Price(10**9, 10**9, 10**9, 1_000)
LIMITS = "/api/tenants/local/limits"
NOTHING = {"monthlyCostMost": None, "booked": None, "inDoubt": None, "out": None, "countedFrom": None}


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    settings = Settings(provider="demo", chunk_chars=10, prices={"scripted-1": PRICE}, concurrency=1)
    made = ApiBench(settings=settings, provider=ScriptedModel())
    yield made
    made.close()


def cap(bench: ApiBench, amount: str | None) -> Any:
    reply = bench.call("PUT", LIMITS, {"monthlyCostMost": amount})
    assert reply.status == 200
    return data(reply)


def test_a_cap_is_set_shown_and_removed(bench: ApiBench) -> None:
    assert data(bench.call("GET", LIMITS)) == {"tenant": "local", **NOTHING}
    shown = cap(bench, "12.5")
    zero = "0.000000000"
    assert shown["countedFrom"].endswith("Z")
    assert shown | {"countedFrom": None} == {
        "tenant": "local",
        "monthlyCostMost": "12.500000000",
        "booked": zero,
        "inDoubt": zero,
        "out": zero,
        "countedFrom": None,
    }
    assert cap(bench, "20")["countedFrom"] == shown["countedFrom"]
    assert cap(bench, None) == data(bench.call("GET", LIMITS)) == {"tenant": "local", **NOTHING}


@pytest.mark.parametrize("body", [{}, {"monthlyCostMost": "-1"}, {"monthlyCostMost": 3}, {"monthlyCostsMost": "1"}])
def test_what_is_no_cap_is_refused(bench: ApiBench, body: dict[str, Any]) -> None:
    assert bench.call("PUT", LIMITS, body).status == 422


@pytest.mark.parametrize("path", ["/api/tasks", "/v1/responses"])
def test_a_submission_beyond_the_cap_is_refused(bench: ApiBench, path: str) -> None:
    """An SDK does not repeat it. Without a price the submission is refused by name; other tenants are not."""
    body: dict[str, Any] = {"input": "one"} | ({} if path == "/api/tasks" else {"background": True})
    cap(bench, "0.000000001")
    reply = bench.call("POST", path, body)
    assert (reply.status, reply.headers["x-should-retry"]) == (429, "false")
    assert "cost_limit" in reply.body
    cap(bench, "1")
    assert bench.call("POST", path, body).status in {200, 202}
    bench.limit(prices={})
    reply = bench.call("POST", path, body)
    assert (reply.status, "no_price" in reply.body) == (422, True)


def test_a_task_waits_for_the_month_and_a_higher_cap_wakes_it(bench: ApiBench) -> None:
    """It says what it waits for, and until when. A sweep finds it after the cap has changed."""
    task_id = bench.submit("one\n\ntwo\n\nthree and four")["id"]
    cap(bench, "0")
    host = Host(Route.QUEUE, 600.0)
    bench.run(bench.worker.run(key(task_id), host))
    waits = data(bench.call("GET", f"/api/tasks/{task_id}"))["waitingFor"]
    assert (waits["reason"], waits["until"][:7]) == ("cost_limit", "2026-10")
    cap(bench, "1")
    assert data(bench.call("GET", f"/api/tasks/{task_id}"))["waitingFor"]["reason"] == "queued"
    bench.run(bench.worker.run(key(task_id), host))
    assert data(bench.call("GET", f"/api/tasks/{task_id}"))["status"] == "completed"


def test_woken_tasks_wait_for_their_turn(bench: ApiBench) -> None:
    """A higher cap spreads them. Until its turn a task still shows the cap.

    Another change does not postpone it, and leaves alone a task that has been sent off.
    """
    ids = [bench.submit("one")["id"] for _ in range(3)]
    cap(bench, "0")
    for task_id in ids:
        bench.run(bench.worker.run(key(task_id), Host(Route.QUEUE, 600.0)))
    cap(bench, "1")
    waits = [data(bench.call("GET", f"/api/tasks/{one}"))["waitingFor"] for one in ids]
    assert [wait["reason"] for wait in waits] == ["queued", "cost_limit", "cost_limit"]
    assert waits[1]["until"] < waits[2]["until"] < "2026-09-30"
    bench.pass_seconds(1)
    sent = "SELECT dispatches, sent_at FROM tasks ORDER BY id"
    bench.database.rows("UPDATE tasks SET dispatches = 1, sent_at = not_before WHERE id IN (SELECT min(id) FROM tasks)")
    before = bench.database.rows(sent)
    cap(bench, "2")
    assert bench.database.rows(sent) == before
    again = [data(bench.call("GET", f"/api/tasks/{one}"))["waitingFor"] for one in ids]
    assert again == waits


def test_the_sweep_wakes_the_tasks_that_the_request_did_not(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.kernel.domain.limits.CAP_WAKES_MOST", 1)
    ids = [bench.submit("one")["id"] for _ in range(3)]
    cap(bench, "0")
    for task_id in ids:
        bench.run(bench.worker.run(key(task_id), Host(Route.QUEUE, 600.0)))
    cap(bench, None)
    reasons = [data(bench.call("GET", f"/api/tasks/{one}"))["waitingFor"]["reason"] for one in ids]
    assert reasons.count("cost_limit") == 2
    bench.run(new_sweep(bench.worker, bench.senders[:1]).run())
    reasons = [data(bench.call("GET", f"/api/tasks/{one}"))["waitingFor"]["reason"] for one in ids]
    assert "cost_limit" not in reasons
    assert bench.database.rows("SELECT tenant FROM tenant_limits") == []
