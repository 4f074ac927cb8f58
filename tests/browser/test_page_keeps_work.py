"""Tests that the page loses no secret that it shows once, no text that is not submitted, and not the focus."""

import pytest
from playwright.sync_api import Browser, expect

from tests.support.stage import TASK_ID, Stage, task

pytestmark = pytest.mark.runtime
KEY = {"id": "k1", "label": "CI", "scopes": ["read"], "createdAt": "2026-11-28T10:00:00Z", "expiresAt": None}
TEXT = "A text that took an hour to write."


def test_esc_does_not_close_a_secret(stage: Stage) -> None:
    """Esc does not close the dialog with a new key, however often it is pressed; only the dialog's button closes it."""
    stage.answers |= {"/api/keys": {"keys": [KEY]}, "POST /api/keys": {"key": "oo_once"}}
    page = stage.open("#/access", "oo_key")
    page.get_by_role("button", name="Make a key").click()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_contain_text("oo_once")
    page.get_by_role("button", name="I have saved it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Make a key")).to_be_focused()


def test_a_text_survives_leaving_and_not_its_submission(stage: Stage) -> None:
    """The form keeps the text of a new task after another view and after a reload, until the text is submitted."""
    stage.answers |= {"/api/tasks": {"tasks": [], "nextCursor": None}}
    page = stage.open("#/submit")
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_role("navigation").get_by_role("link", name="Tasks").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
    page.get_by_role("navigation").get_by_role("link", name="New task").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    page.reload()
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    assert TEXT not in page.evaluate("JSON.stringify(localStorage)")
    plan = {"chunks": [{"index": 0, "start": 0, "end": 34}], "request": task()["request"], "characters": 34}
    stage.answers["POST /api/tasks"] = plan | {"minimumCalls": 1, "estimatedTokens": 9, "id": TASK_ID}
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_role("button", name="Submit: 1 call").click()
    page.wait_for_url("**/#/task/*")
    assert TEXT not in page.evaluate("JSON.stringify(sessionStorage)")
    page.go_back()
    expect(page.get_by_label("Text", exact=True)).to_have_value("")


@pytest.mark.parametrize(
    ("locale", "verb", "keep", "go"),
    [("en-GB", "Cancel", "Keep running", "Cancel the task"), ("zh-CN", "取消", "继续运行", "取消任务")],
)
def test_the_question_of_cancel_cannot_be_misread(browser: Browser, locale: str, verb: str, keep: str, go: str) -> None:
    """Each button of the dialog that asks about a cancellation says what happens to the task."""
    stage = Stage(browser, locale=locale)
    running = task(status="processing", terminal=False, finishedAt=None)
    path = f"/api/tasks/{TASK_ID}"
    stage.answers |= {path: running, f"{path}/chunks": {"chunks": [], "nextCursor": None}}
    stage.answers[f"POST {path}/cancel"] = {}
    page = stage.open(f"#/task/{TASK_ID}")
    opener = page.get_by_role("button", name=verb, exact=True)
    opener.click()
    assert page.get_by_role("dialog").get_by_role("button").all_inner_texts() == [keep, go]
    page.get_by_role("dialog").get_by_role("button", name=keep).click()
    expect(opener).to_be_focused()
    opener.click()
    stage.answers[path] = task(status="cancelled")
    page.get_by_role("dialog").get_by_role("button", name=go).click()
    expect(opener).to_have_count(0)
    expect(page.locator("#main")).to_be_focused()
    stage.close()
    assert stage.faults == []
