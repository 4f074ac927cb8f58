"""Tests that each dialog gives the focus back, and that only its own button closes a dialog with a secret."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.page_batches import answers as batch_answers
from tests.support.stage import BEGAN, TASK_ID, Stage, shaped, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
VIEW = f"#/task/{TASK_ID}"
KEY = {"id": "k1", "label": "CI", "scopes": ["read"], "createdAt": BEGAN, "expiresAt": None}
HOOK = {"id": "h", "name": "Ledger", "url": "https://example.com/", "status": "enabled", "created_at": 1}
HOOKS = "/v1/webhook_endpoints"
RUNNING = task(status="processing", terminal=False, finishedAt=None)
FAILED = task(status="failed", error={"code": "model_timeout", "message": "no answer", "retryable": True})
GAPS = shaped([None, 1], coverage=0.5, gaps=[{"chunk": 0, "start": 0, "end": 30, "code": "model_refused"}])
LIST = [
    FAILED | {"name": "Broken"},
    RUNNING | {"id": f"{TASK_ID[:-1]}b", "name": "Running"},
    task(id=f"{TASK_ID[:-1]}c", name="Done"),
]
# The buttons of the list that open a dialog, each with the row that is chosen before.
OF_LIST = [
    ("Key set", ""),
    ("Tenant: Own tenant", ""),
    ("Retry all failed", "Broken"),
    ("Cancel all unfinished", "Done"),
    ("Retry the chosen", "Broken"),
    ("Cancel the chosen", "Running"),
    ("Delete the chosen", "Done"),
]
# A task that the API shows, or a batch's status and counts, and the buttons of its view that open a dialog.
OF_TASK: list[tuple[Any, list[str]]] = [
    (RUNNING, ["Cancel"]),
    (FAILED, ["Retry"]),
    (GAPS, ["Retry gaps"]),
    (task(), ["Delete", "Run again with changes"]),
    (("in_progress", 8, 3, 1), ["Cancel"]),
    (("completed", 8, 7, 1), ["Retry the failed lines", "Delete"]),
]
OF_ACCESS = ["Revoke", "Rotate the secret", "Delete"]


def shows(stage: Stage, shown: Any) -> None:
    stage.answers |= {
        "/api/tenants": {"tenants": [], "nextCursor": None},
        "/api/keys": {"keys": [KEY]},
        HOOKS: {"data": [HOOK | {"event_types": ["task.completed"]}]},
        f"{PATH}/chunks": {"chunks": [], "nextCursor": None},
        f"{PATH}/deliveries": {"deliveries": [], "nextCursor": None},
    }
    if isinstance(shown, tuple):
        stage.answers |= batch_answers(*shown)
    elif isinstance(shown, list):
        stage.answers["/api/tasks"] = {"tasks": shown, "nextCursor": None}
    else:
        stage.answers |= {PATH: shown, "/api/tasks": {"tasks": [shown], "nextCursor": None}}


def gives_the_focus_back(stage: Stage, name: str) -> None:
    """Open a dialog; Esc closes it without a change, and the focus is on its button again."""
    opener = stage.page.get_by_role("button", name=name, exact=True)
    opener.press("Enter")
    dialog = stage.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    stage.settle()
    assert stage.serious() == [], name
    expect(dialog.locator(":focus")).to_have_count(1)
    stage.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    changes = [path for method, path, body in stage.asked if method != "GET" and "dryRun" not in f"{path}{body}"]
    assert changes == [], name


def test_each_dialog_of_the_list_gives_the_focus_back(stage: Stage) -> None:
    shows(stage, LIST)
    page = stage.open("#/tasks", "oo_key")
    for name, chosen in OF_LIST:
        row = page.get_by_role("checkbox", name=f"Choose {chosen}")
        if chosen:
            row.check()
        gives_the_focus_back(stage, name)
        if chosen:
            row.uncheck()


def test_each_dialog_of_a_task_gives_the_focus_back(stage: Stage) -> None:
    stage.context.add_init_script('sessionStorage["onceover.draft"] ??= \'{"input": "A text"}\'')
    for shown, names in OF_TASK:
        shows(stage, shown)
        if not stage.asked:
            stage.open("#/tasks", "oo_key")
        expect(stage.page.locator(".list-row")).to_have_count(1)
        stage.page.goto(f"{stage.url}/{VIEW}")
        for name in names:
            gives_the_focus_back(stage, name)
        stage.page.goto(f"{stage.url}/#/tasks")


def test_each_dialog_of_keys_and_webhooks_gives_the_focus_back(stage: Stage) -> None:
    shows(stage, task())
    stage.open("#/access", "oo_key")
    for name in OF_ACCESS:
        gives_the_focus_back(stage, name)


def closes(page: Page, secret: str) -> None:
    expect(page.get_by_role("dialog").locator("code")).to_have_text(secret)
    page.get_by_role("button", name="I have saved it").click()


def test_no_other_view_closes_a_secret(stage: Stage) -> None:
    shows(stage, task())
    held: list[Route] = []
    stage.answers["POST /api/keys"] = held.append
    page = stage.open("#/tasks", "oo_key")
    page.get_by_role("navigation").get_by_role("link", name="Keys and webhooks").click()
    expect(page.locator(".rows li")).to_have_count(2)
    page.get_by_role("button", name="Make a key").click()
    stage.until(lambda: len(held) == 1)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
    held[0].fulfill(json={"key": "oo_late"})
    expect(page.get_by_role("dialog").locator("code")).to_have_text("oo_late")
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_have_text("Keys and webhooks")
    closes(page, "oo_late")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#main")).to_be_focused()
    assert "oo_late" not in page.content()


def test_no_secret_takes_the_place_of_another(stage: Stage) -> None:
    shows(stage, task())
    made = iter(["oo_first", "oo_second"])
    stage.answers["POST /api/keys"] = lambda route: route.fulfill(json={"key": next(made)})
    stage.answers[f"POST {HOOKS}/h/rotate_secret"] = {"signing_secret": "whsec_new"}
    page = stage.open("#/access", "oo_key")
    page.get_by_role("button", name="Make a key").dblclick()
    shown = page.get_by_role("dialog").locator("code")
    expect(shown).to_have_text(re.compile("oo_(first|second)"))
    # Two requests that are under way together may be answered in any order.
    for secret in sorted(["oo_first", "oo_second"], key=lambda one: one != shown.inner_text()):
        closes(page, secret)
    expect(page.get_by_role("dialog")).to_have_count(0)
    opener = page.get_by_role("button", name="Rotate the secret")
    opener.click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate the secret").click()
    closes(page, "whsec_new")
    expect(opener).to_be_focused()
