"""Tests the log of a task's calls: what it shows, how a user finds failed calls, and when the page requests it."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.support.browser import HOSTILE
from tests.support.stage import BEGAN, TASK_ID, Stage, attempt, chunk, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
COUNTS = {"calls": 60, "succeeded": 54, "failed": 3, "inDoubt": 1, "out": 0, "unlisted": 2}
FAILURE = {"code": "model_unavailable", "message": HOSTILE, "retryable": True}


FAILED = attempt(4, outcome="failed", milliseconds=322, code="model_unavailable", message=HOSTILE, number=2)
CUT_OFF = attempt(5, outcome="failed", answered=False, code="model_timeout", message="no answer", lane=2)
DOUBTED = attempt(6, outcome="in_doubt", answered=False, number=None, startedAt=None, announcedAt=BEGAN)
MERGE = attempt(0, level=2)


def log(stage: Stage) -> None:
    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        rows = [FAILED, CUT_OFF] if query.get("outcome") == ["failed"] else [attempt(0), FAILED, CUT_OFF, DOUBTED]
        more = "outcome" not in query
        if "cursor" in query:
            rows, more = [MERGE], False
        route.fulfill(json={"attempts": rows, "counts": COUNTS, "nextCursor": "n" if more else None})

    total = {"total": 9, "completed": 8, "failed": 1, "truncated": 0}
    stage.answers |= {PATH: task(status="failed", error=FAILURE, progress=total), f"{PATH}/attempts": answer}
    stage.answers[f"{PATH}/chunks"] = {"chunks": [chunk(0)], "nextCursor": None}


def test_one_jumps_to_what_failed(stage: Stage) -> None:
    """A button opens the log with the failed calls, which is not loaded before."""
    log(stage)
    page = stage.open(f"#/task/{TASK_ID}")
    button = page.get_by_role("button", name="Jump to what failed")
    expect(button).to_be_visible()
    stage.settle()
    assert not [path for _, path, _ in stage.asked if "attempts" in path]
    button.click()
    expect(page.get_by_role("heading", name="Calls", exact=True)).to_be_focused()
    rows = page.get_by_role("table", name="Calls").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("Chunk 5 call 2")
    expect(rows.nth(1)).to_contain_text("322ms")
    expect(rows.nth(1)).to_contain_text("queue · m")
    expect(rows.nth(1).get_by_role("time")).to_have_attribute("datetime", BEGAN)
    expect(rows.nth(1).locator(".chip")).to_have_text("failed")
    expect(rows.nth(1)).to_contain_text("model_unavailable <img src=x onerror=alert(1)>")
    expect(rows.nth(2)).to_contain_text("no answer: the bill counts it as in doubt")
    expect(rows.nth(2)).to_contain_text("queue · lane 2 · m")
    assert stage.serious() == []
    page.get_by_role("button", name="Chunk 5", exact=True).click()
    expect(page.get_by_role("heading", name="Chunk 5")).to_be_visible()
