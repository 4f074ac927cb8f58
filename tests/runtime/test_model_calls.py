"""Requests to an OpenAI-compatible server, and what the Worker does when it fails."""

import itertools
import os
import re

import pytest

from tests.support.client import Client, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, drop, empty, garbage, hang, rate_limit, stall, status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
SMALL = {"maxChars": 40}
# The most seconds by which a call may come too early. Unlike Cloudflare's clock, the local standing clock may be late:
# a timer may show a time that is LATE_MS too early, and this time may stand still for LOST_MS
# (local/runtime/standing_clock.js).
LATE_CLOCK_SECONDS = 0.5 if os.environ["ONCEOVER_LOCAL_CLOCK"] == "standing" else 0.0
# Matches the lines that CPython, Pyodide and workerd print about a task or a promise that was never awaited.
LEFTOVER = re.compile(
    r"was destroyed but it is pending|never retrieved|never awaited|Exception in callback|Exception ignored"
    r"|[Uu]ncaught|[Uu]nhandled|different request"
)


@pytest.fixture(scope="module", params=["queue", "durable-object", pytest.param("direct", marks=pytest.mark.campaign)])
def route(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer):
    model.plan = Plan()
    model.output_chars = None
    model.wait_until_idle()
    model.reset()


def test_twelve_chunks_make_exactly_twelve_calls(client: Client, model: ModelServer):
    """Each has the chunk's text as user message and the instructions as system message."""
    text = paragraphs(12)
    task = client.finished(client.submit(text, instructions="Count the words.", chunk=SMALL, model="m-1")["id"])
    assert task["status"] == "completed"
    calls = model.calls()
    assert len(calls) == 12
    assert "".join(sorted(call.user for call in calls)) == text
    assert {(call.system, call.model) for call in calls} == {("Count the words.", "m-1")}
    usage = task["usage"]
    assert (usage["modelCalls"], usage["minimumCalls"], usage["inDoubt"]) == (12, 12, 0)
    assert (usage["inputTokens"], usage["outputTokens"]) == model.usage()


def test_merge_adds_only_its_levels(client: Client, model: ModelServer):
    model.output_chars = 900
    task = client.finished(client.submit(paragraphs(12), reduce="merge", chunk=SMALL)["id"])
    assert task["status"] == "completed"
    # A merge call of 2,000 characters has space for two of the outputs of 900 characters. The last merge call takes
    # three outputs, which are shortened.
    assert len(model.calls()) == 12 + 6 + 3 + 1
    assert task["usage"]["modelCalls"] == task["usage"]["minimumCalls"] == 22
    assert task["usage"]["inputTokens"] == model.usage()[0]


def test_a_rate_limit_is_obeyed_and_costs_no_attempt(client: Client, model: ModelServer):
    model.plan = Plan(decide=lambda call: rate_limit(2) if call.number <= 4 else None)
    task = client.finished(client.submit(paragraphs(1), chunk=SMALL)["id"])
    assert task["status"] == "completed"
    times = [call.arrived_at for call in model.calls()]
    assert len(times) == 5 == task["usage"]["modelCalls"]
    assert all(later - earlier >= 2 - LATE_CLOCK_SECONDS for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("trouble", [status(500), status(503), garbage(), empty(), drop()], ids=lambda item: item.label)
def test_transient_trouble_is_retried(client: Client, model: ModelServer, trouble):
    text = paragraphs(3)
    second = text.split("\n\n")[1]
    failures = iter([trouble, trouble])
    model.plan = Plan(decide=lambda call: next(failures, None) if second in call.user else None)
    task = client.finished(client.submit(text, chunk=SMALL)["id"])
    assert task["status"] == "completed", task
    calls = model.calls()
    assert len(calls) == 5
    times = [call.arrived_at for call in calls if second in call.user]
    assert len(times) == 3
    assert times[2] - times[1] >= 1 - LATE_CLOCK_SECONDS
    assert task["usage"]["modelCalls"] == 5
    assert [chunk["attempts"] for chunk in client.chunks(task["id"])] == [1, 3, 1]


def test_each_call_is_in_the_log(client: Client, model: ModelServer):
    text = paragraphs(3)
    second = text.split("\n\n")[1]
    failures = iter([status(503), drop(), status(500)])
    model.plan = Plan(decide=lambda call: next(failures, None) if second in call.user else None)
    name = text.split("\n")[0][:20].lower()
    made = client.submit(text, chunk=SMALL, model="m-9")
    assert name in made["name"].lower()
    task = client.finished(made["id"])
    read = client.http.get(f"/api/tasks/{made['id']}/attempts").json()
    counts = {"calls": 5, "succeeded": 2, "failed": 3, "inDoubt": 0, "out": 0, "unlisted": 0}
    assert (task["status"], read["counts"], read["nextCursor"]) == ("failed", counts, None)
    ends = [(one["index"], one["number"], one["outcome"], one["code"]) for one in read["attempts"]]
    assert ends == [
        (0, 1, "succeeded", None),
        (1, 1, "failed", "model_unavailable"),
        (1, 2, "failed", "model_connection_lost"),
        (1, 3, "failed", "model_unavailable"),
        (2, 1, "succeeded", None),
    ]
    assert len(model.calls()) == 5
    assert {(one["model"], one["route"]) for one in read["attempts"]} == {("m-9", task["route"])}
    times = [one["startedAt"] for one in read["attempts"] if one["outcome"] == "failed"]
    assert times == sorted(times)
    assert all(one["milliseconds"] is not None for one in read["attempts"])
    found = client.http.get("/api/tasks", params={"q": name, "code": task["error"]["code"], "counts": "true"}).json()
    assert [one["id"] for one in found["tasks"]] == [made["id"]]
    assert found["counts"]["failed"] == 1
    model.plan = Plan()
    assert client.http.post(f"/api/tasks/{made['id']}/retry").status_code == 202
    assert client.finished(made["id"])["status"] == "completed"
    again = client.http.get(f"/api/tasks/{made['id']}/attempts", params={"outcome": "failed"}).json()
    assert (len(again["attempts"]), again["counts"]["calls"]) == (3, 6)
    for wanted in (name, made["id"]):
        listed = client.http.get("/api/tasks", params={"q": wanted}).json()["tasks"]
        assert (made["id"], made["name"]) in [(one["id"], one["name"]) for one in listed]
    assert client.http.delete(f"/api/tasks/{made['id']}").status_code == 204
    assert client.http.get(f"/api/tasks/{made['id']}/attempts").status_code == 404


@pytest.mark.parametrize("trouble", [hang(), stall()], ids=lambda item: item.label)
def test_timeouts_are_retried_until_the_attempts_are_used_up(
    dev: DevServer, client: Client, model: ModelServer, trouble
):
    printed = len(dev.lines)
    model.plan = Plan(decide=lambda call: trouble)
    task = client.finished(client.submit(paragraphs(1), chunk=SMALL)["id"], 60)
    assert task["status"] == "failed"
    assert (task["error"]["code"], task["error"]["retryable"]) == ("model_timeout", True)
    assert len(model.calls()) == 3 == task["usage"]["modelCalls"]
    assert task["progress"]["failed"] == 1
    (chunk,) = client.chunks(task["id"])
    assert (chunk["status"], chunk["attempts"], chunk["error"]["code"]) == ("failed", 3, "model_timeout")
    model.wait_until_idle()
    assert [(call.in_flight, call.complete) for call in model.calls()] == [(1, False)] * 3
    assert [line for line in dev.lines[printed:] if LEFTOVER.search(line)] == []


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refusal_fails_at_once(client: Client, model: ModelServer, code: int):
    model.plan = Plan(decide=lambda call: status(code))
    task = client.finished(client.submit(paragraphs(1), chunk=SMALL)["id"])
    assert task["status"] == "failed"
    refusal = "model_refused" if code == 400 else "model_misconfigured"  # the task names no model of its own
    assert (task["error"]["code"], task["error"]["retryable"]) == (refusal, False)
    assert str(code) in task["error"]["message"]
    assert len(model.calls()) == 1


def test_cancel_stops_spending(client: Client, model: ModelServer):
    model.hold()
    task = client.submit(paragraphs(30), chunk=SMALL)
    model.wait_for_in_flight(6)
    answer = client.http.post(task["links"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    model.release()
    model.wait_until_idle()
    again = client.http.post(task["links"]["cancel"])
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    later = client.submit(paragraphs(2, "other"), chunk=SMALL)
    assert client.finished(later["id"])["status"] == "completed"
    assert len([call for call in model.calls() if "part" in call.user]) == 6
    usage = client.task(task["id"])["usage"]
    assert usage["modelCalls"] == 6
