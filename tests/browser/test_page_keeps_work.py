"""Tests that the page loses no secret that it shows once, no text that is not submitted, and not the focus."""

import pytest
from playwright.sync_api import expect

from tests.support.stage import TASK_ID, Stage, task

pytestmark = pytest.mark.runtime
TEXT = "A text that took an hour to write."


def test_a_text_survives_leaving_and_not_its_submission(stage: Stage) -> None:
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
