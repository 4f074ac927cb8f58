"""Tests that the page is right about the calls of an ended task, about times, about keys, and about plotted values."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from src.kernel.store.tallies import BOUNDS_MS
from tests.support.stage import BEGAN, HEALTH, TASK_ID, Stage, chunk, refuse, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
NO_TASKS: dict[str, Any] = {"tasks": [], "nextCursor": None}
STEP_SECONDS = 300
LATE = "2026-11-28T11:55:00Z"  # the last step but one of the history that ends at noon


def test_a_cancelled_task_s_calls_are_followed_until_they_are_settled(stage: Stage) -> None:
    progress = {"total": 3, "completed": 1, "failed": 0, "truncated": 0}

    def cancelled(**calls: Any) -> dict[str, Any]:
        no_calls: dict[str, Any] = {"announcedAt": BEGAN, "out": [], "inDoubt": []}
        return task(status="cancelled", progress=progress, calls=no_calls | calls)

    stage.answers |= {f"{PATH}/chunks": {"chunks": [chunk(0)], "nextCursor": None}}
    stage.answers[PATH] = cancelled(out=[{"level": 0, "index": 1}])
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.locator(".fall .call.is-out")).to_have_count(1)
    stage.answers[PATH] = cancelled(inDoubt=[{"level": 0, "index": 1}])
    expect(page.locator(".fall .call.is-doubt")).to_have_count(1)
    box = page.locator(".fall .call.is-doubt").bounding_box()
    assert box is not None
    assert box["width"] > 20  # the bar reaches from the call's announcement to the task's end
    stage.settle()
    asked = len(stage.asked)
    page.clock.install()
    page.clock.run_for(60_000)
    stage.settle()
    assert len(stage.asked) == asked  # after the end the page makes no further request


# A view, a button in it that reads more, and how many parts of the view then cannot be read.
REFUSED = [
    (f"#/task/{TASK_ID}?chunk=0", "", 3),  # The chunks, the shown chunk and the deliveries cannot be read.
    (f"#/task/{TASK_ID}", "Show the calls one by one", 3),  # The chunks, the calls and the deliveries cannot be read.
    ("#/access", "", 2),
    ("#/health", "", 1),  # The history and the failures cannot be read.
    ("#/tasks", "Tenant: Own tenant", 1),
    ("#/tasks", "Cancel all unfinished", 1),
]

OF_CHOSEN = {"Cancel all unfinished"}  # The buttons that are there while a row is chosen.


def test_nothing_that_cannot_be_read_claims_to_be_reading(stage: Stage) -> None:
    stage.answers |= HEALTH | {PATH: task(), "/api/tasks": NO_TASKS | {"tasks": [task()]}}
    for path in ("/api/keys", "/v1/webhook_endpoints", "/api/history", "/api/tenants", "POST /api/tasks/cancel"):
        stage.answers[path] = lambda route: refuse(route, 500, "unexpected")
    for part in ("chunks", "attempts", "deliveries"):
        stage.answers[f"{PATH}/{part}"] = lambda route: refuse(route, 500, "unexpected")
    page = stage.open("#/submit", "oo_key")
    for view, button, troubles in REFUSED:
        # The form between two views has no alert, so an alert of one view cannot be taken for one of the next.
        page.goto(f"{stage.url}/#/submit")
        expect(page.locator("#input")).to_be_visible()
        page.goto(f"{stage.url}/{view}")
        if button in OF_CHOSEN:
            page.get_by_role("checkbox").first.check()
        if button:
            page.get_by_role("button", name=button).click()
        expect(page.get_by_role("alert")).to_have_count(troubles)
        stage.settle()
        expect(page.get_by_text(re.compile("Reading|Counting …"))).to_have_count(0)
        expect(page.get_by_text("No output yet")).to_have_count(0)
        assert stage.serious() == [], view
        page.keyboard.press("Escape")


def history(at: str, took: list[int]) -> dict[str, Any]:
    upto = [sum(one <= bound for one in took) for bound in BOUNDS_MS]
    duration = {"count": len(took), "sumMs": sum(took), "upTo": upto, "p50Ms": 102_000, "p95Ms": 192_000}
    names = ("failed", "cancelled", "retries", "deadLetters", "modelCalls", "inDoubt", "inputTokens", "outputTokens")
    counts = dict.fromkeys(names, 0) | {"at": at, "completed": len(took), "took": duration, "waited": duration}
    backlog = {"pending": 7, "processing": 0, "oldestPendingSeconds": None}
    return {
        "hours": 1,
        "bucketSeconds": STEP_SECONDS,
        "until": at,
        "boundsMs": list(BOUNDS_MS),
        "buckets": [counts | {"backlog": backlog}, counts | {"at": LATE, "backlog": backlog | {"pending": 9}}],
    }
