"""Tests that the page cuts nothing off on phones and at a zoom of 200 %, and that the keyboard alone suffices."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.layout import layout_faults
from tests.support.stage import BEGAN, HEALTH, TASK_ID, Stage, chunk, task

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
