"""The page cuts nothing off on phones and at a zoom of 200 %, and is right about what it shows."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from src.kernel.store.tallies import BOUNDS_MS
from tests.support.layout import layout_faults
from tests.support.stage import BEGAN, HEALTH, TASK_ID, Stage, chunk, refuse, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
NAME = "Minutes of the meeting on the " + "unbreakable" * 9
# This script finds elements whose text is wider than the element and cannot be scrolled to, except texts that are only
# for screen readers.
_CLIPPED = """[...document.querySelectorAll("body *")].filter((one) => {
  const { overflowX } = getComputedStyle(one);
  const hides = ["hidden", "clip"].includes(overflowX) || one.matches("nav");
  return hides && !one.matches(".sr, .table thead, .fall-time, .bar, .strip") && one.scrollWidth > one.clientWidth + 1;
}).map((one) => one.outerHTML.slice(0, 120))"""


def everything(stage: Stage) -> None:
    """Set answers of the API for all views, with long names."""
    failure = {"code": "model_timeout", "message": "no answer " * 20, "retryable": True}
    plan = {"chunks": [{"index": 0, "start": 0, "end": 8}], "request": task()["request"], "characters": 8}
    whole = task(name=NAME, status="failed", error=failure, metadata={"name": NAME})
    key = {"id": "k1", "label": NAME, "scopes": ["read", "write", "admin"], "createdAt": BEGAN, "expiresAt": BEGAN}
    hook = {"id": "h", "name": NAME, "url": f"https://example.com/{NAME}", "status": "enabled", "created_at": 1}
    stage.answers |= HEALTH | {
        "/api/tasks": {"tasks": [whole] * 3, "nextCursor": "more"},
        "POST /api/tasks": plan | {"minimumCalls": 4, "estimatedTokens": 2},
        PATH: whole,
        f"{PATH}/chunks": {"chunks": [chunk(0, lane=2), chunk(1, lane=2)], "nextCursor": None},
        "/api/keys": {"keys": [key]},
        "/v1/webhook_endpoints": {"data": [hook | {"event_types": ["response.completed"] * 7}]},
    }


# At a zoom of 200 % a window has half its pixels: 640 for a screen of 1280 pixels, and 188 for a phone of 375.
WIDTHS = {"en-GB": (640, 375, 320, 188), "zh-CN": (375, 188)}


def fits(page: Page, stage: Stage, what: str) -> None:
    stage.settle()
    locale = "en-GB" if page.evaluate("document.documentElement.lang") == "en" else "zh-CN"
    for width in WIDTHS[locale]:
        page.set_viewport_size({"width": width, "height": 700})
        stage.picture(f"fits {width} {what} {locale}")
        assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width], what
        assert page.evaluate(_CLIPPED) == [], (what, width)
        assert layout_faults(page) == [], (what, width)


@pytest.mark.parametrize("locale", WIDTHS)
def test_nothing_is_cut_off(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    everything(stage)
    page = stage.open("#/tasks", "oo_key")
    expect(page.locator(".list-row")).to_have_count(3)
    page.get_by_role("checkbox").nth(1).check()
    page.locator(".filters > button").click()
    page.locator("#time").select_option("between")
    fits(page, stage, "list")
    page.locator(".chosen button").last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    fits(page, stage, "dialog")
    page.keyboard.press("Escape")
    page.goto(f"{stage.url}/#/task/{TASK_ID}?chunk=1")
    expect(page.locator(".fall-row")).to_have_count(3)
    for part in page.locator("main summary").all():
        part.click()
    fits(page, stage, "task")
    page.goto(f"{stage.url}/#/submit")
    page.locator("#input").fill("The text")
    expect(page.locator(".cut")).to_have_count(1)
    for part in page.locator("summary").all():
        part.click()
    page.locator("#gaps").check()
    fits(page, stage, "submit")
    page.goto(f"{stage.url}/#/health")
    expect(page.locator(".cards")).to_be_visible()
    fits(page, stage, "health")
    page.goto(f"{stage.url}/#/access")
    expect(page.locator(".rows li")).to_have_count(2)
    fits(page, stage, "access")
    stage.close()
    assert stage.faults == []


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
