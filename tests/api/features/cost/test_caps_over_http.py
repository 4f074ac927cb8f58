"""Caps over HTTP: `maxCost` of a task, and an operator's cap on what a tenant's calls may cost in a month."""

import json
from typing import Any

import pytest

from src.kernel.domain.prices import Price, written
from src.kernel.domain.settings import Settings
from tests.support import batches
from tests.support.api_bench import ApiBench, data
from tests.support.invocations import new_sweep
from tests.support.scripted_model import ScriptedModel

PRICE = Price(10**9, 10**9, 10**9, 1_000)
TEXT = "one\n\ntwo\n\nthree"


@pytest.fixture
def bench() -> ApiBench:
    settings = Settings(provider="demo", chunk_chars=10, prices={"scripted-1": PRICE}, concurrency=1)
    return ApiBench(settings=settings, provider=ScriptedModel())


@pytest.mark.parametrize("path", ["/api/tasks", "/v1/responses"])
def test_a_cap_below_the_first_call_is_refused_and_named(bench: ApiBench, path: str) -> None:
    def body(cap: str) -> dict[str, Any]:
        if path == "/api/tasks":
            return {"input": TEXT, "maxCost": cap}
        return {"input": TEXT, "background": True, "onceover": {"maxCost": cap}}

    refused = bench.call("POST", path, body("0.000000001"))
    text = refused.body
    least = text.split("must be at least ")[1].split(":")[0]
    assert (refused.status, "maxCost" in text) == (422 if path == "/api/tasks" else 400, True)
    assert bench.call("POST", path, body(least)).status in {200, 202}
    below = written(round(float(least) * 10**9) - 1)
    assert bench.call("POST", path, body(below)).status == refused.status


def test_a_task_without_a_price_or_a_limit_is_refused(bench: ApiBench) -> None:
    """A capped task needs both. The model's `maxOutput`, the task's and the deployment's limit each suffice."""
    change: dict[str, Any]
    for change in ({"prices": {}}, {"prices": {"scripted-1": PRICE._replace(max_output=None)}}):
        bench.limit(**change)
        reply = bench.call("POST", "/api/tasks", {"input": TEXT, "maxCost": "1"})
        assert (reply.status, data(reply)["code"]) == (422, "no_price")
    assert bench.call("POST", "/api/tasks", {"input": TEXT, "maxCost": "1", "maxOutputTokens": 9}).status == 202
    bench.limit(max_output_tokens=9)
    assert bench.call("POST", "/api/tasks", {"input": TEXT, "maxCost": "1"}).status == 202
    other = bench.call("POST", "/api/tasks", {"input": TEXT, "maxCost": "1", "model": "other"})
    assert data(other)["code"] == "no_price"


@pytest.mark.parametrize("cap", ["", "-1", "1e3", "1,5", ".5", "0.0000000001", "1000000000", 1, True])
def test_another_text_is_no_amount(bench: ApiBench, cap: object) -> None:
    """An amount is decimal text. A number is refused, because a float is not exact."""
    reply = bench.call("POST", "/api/tasks", {"input": TEXT, "maxCost": cap})
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, "maxCost")


def test_a_spent_task_ends_and_a_retry_with_more_goes_on(bench: ApiBench) -> None:
    refused = bench.call("POST", "/api/tasks", {"input": TEXT, "maxCost": "0"}).body
    least = refused.split("must be at least ")[1].split(":")[0]
    made = bench.submit(TEXT, maxCost=least)
    assert made["maxCost"] == least
    ended = bench.work_on(made["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "cost_exhausted")
    assert 0 < ended["progress"]["completed"] < ended["progress"]["total"]
    assert ended["usage"]["cost"]["amount"] <= least
    path = f"/api/tasks/{made['id']}/retry"
    for body in (None, {"maxCost": least}):
        again = bench.call("POST", path, body)
        assert (again.status, data(again)["code"]) == (409, "cost_exhausted")
    many = bench.call("POST", "/api/tasks/retry", {"errorCode": "cost_exhausted"})
    assert (many.status, "maxCost" in many.body) == (422, True)
    assert data(bench.call("POST", path, {"maxCost": "1"}))["maxCost"] == "1.000000000"
    done = bench.work_on(made["id"])
    assert (done["status"], done["usage"]["modelCalls"]) == ("completed", done["progress"]["total"])


LINE: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}


def batch_of(*bodies: dict[str, Any]) -> str:
    lines = [LINE | {"custom_id": f"l{number}", "body": body} for number, body in enumerate(bodies)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_line_without_a_most_makes_a_capped_batch_invalid() -> None:
    """Lines without a price, without a limit or with content by its URL fail the check, each with `no_price`."""
    made = ApiBench(settings=Settings(provider="demo", prices={"demo": PRICE._replace(max_output=None)}))
    text, image = {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
    bodies = (
        {"model": "demo", "messages": [{"role": "user", "content": "x"}]},
        {"model": "demo", "messages": [{"role": "user", "content": [text, image]}], "max_tokens": 5},
        {"model": "demo", "messages": [{"role": "user", "content": [text]}], "max_tokens": 5},
    )
    batch = batches.run(made, batches.create(made, batch_of(*bodies), onceover={"maxCost": "1"}))
    assert batch["status"] == "failed"
    assert [(error["code"], error["line"]) for error in batch["errors"]["data"]] == [("no_price", 1), ("no_price", 2)]
    assert batches.run(made, batches.create(made, batch_of(*bodies)))["status"] == "completed"


def test_a_batch_keeps_its_cap() -> None:
    made = ApiBench(settings=Settings(provider="demo", prices={"demo": PRICE}, concurrency=1))
    body = {"model": "demo", "messages": [{"role": "user", "content": "x " * 50}], "max_tokens": 900}
    batch = batches.run(made, batches.create(made, batch_of(*[body] * 9), onceover={"maxCost": "0.0015"}))
    assert batch["status"] == "failed"
    assert 0 < batch["request_counts"]["completed"] < 9
    assert batch["errors"]["data"][0]["code"] == "cost_exhausted"
    assert batch["onceover"]["usage"]["cost"]["amount"] <= "0.001500000"


LIMITS = "/api/tenants/local/limits"
NOTHING = {"monthlyCostMost": None, "booked": None, "inDoubt": None, "out": None, "countedFrom": None}


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
    waits = bench.work_on(task_id)["waitingFor"]
    assert (waits["reason"], waits["until"][:7]) == ("cost_limit", "2026-10")
    cap(bench, "1")
    assert data(bench.call("GET", f"/api/tasks/{task_id}"))["waitingFor"]["reason"] == "queued"
    assert bench.work_on(task_id)["status"] == "completed"


def test_woken_tasks_wait_for_their_turn(bench: ApiBench) -> None:
    """A higher cap spreads them. Until its turn a task still shows the cap.

    Another change does not postpone it, and leaves alone a task that has been sent off.
    """
    ids = [bench.submit("one")["id"] for _ in range(3)]
    cap(bench, "0")
    for task_id in ids:
        bench.work_on(task_id)
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
        bench.work_on(task_id)
    cap(bench, None)
    reasons = [data(bench.call("GET", f"/api/tasks/{one}"))["waitingFor"]["reason"] for one in ids]
    assert reasons.count("cost_limit") == 2
    bench.run(new_sweep(bench.worker, bench.senders[:1]).run())
    reasons = [data(bench.call("GET", f"/api/tasks/{one}"))["waitingFor"]["reason"] for one in ids]
    assert "cost_limit" not in reasons
    assert bench.database.rows("SELECT tenant FROM tenant_limits") == []
