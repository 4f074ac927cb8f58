"""Tests that each dialog gives the focus back, and that only its own button closes a dialog with a secret."""

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
# A view, a task that the API shows, or a batch's status and counts, and the button that opens a dialog.
DIALOGS: list[tuple[str, Any, str]] = [
    ("#/tasks", task(), "Key set"),
    ("#/tasks", task(), "Tenant: Own tenant"),
    ("#/tasks", task(), "Retry many"),
    ("#/tasks", task(), "Cancel many"),
    ("#/tasks", FAILED, "Retry the chosen"),
    ("#/tasks", RUNNING, "Cancel the chosen"),
    ("#/tasks", task(), "Delete the chosen"),
    (VIEW, RUNNING, "Cancel"),
    (VIEW, FAILED, "Retry"),
    (VIEW, GAPS, "Retry gaps"),
    (VIEW, task(), "Delete"),
    (VIEW, task(), "Run again with changes"),
    (VIEW, ("in_progress", 8, 3, 1), "Cancel"),
    (VIEW, ("completed", 8, 7, 1), "Retry the failed lines"),
    (VIEW, ("completed", 8, 7, 1), "Delete"),
    ("#/access", task(), "Revoke"),
    ("#/access", task(), "Rotate the secret"),
    ("#/access", task(), "Delete"),
]


def shows(stage: Stage, shown: Any) -> None:
    """Let the API answer with a task or a batch, and with a key and an endpoint of webhooks."""
    stage.answers |= {
        "/api/tenants": {"tenants": [], "nextCursor": None},
        "/api/keys": {"keys": [KEY]},
        HOOKS: {"data": [HOOK | {"event_types": ["task.completed"]}]},
        f"{PATH}/chunks": {"chunks": [], "nextCursor": None},
        f"{PATH}/deliveries": {"deliveries": [], "nextCursor": None},
    }
    if isinstance(shown, tuple):
        stage.answers |= batch_answers(*shown)
    else:
        stage.answers |= {PATH: shown, "/api/tasks": {"tasks": [shown], "nextCursor": None}}


@pytest.mark.parametrize(("view", "shown", "name"), DIALOGS)
def test_each_dialog_gives_the_focus_back(stage: Stage, view: str, shown: Any, name: str) -> None:
    """Esc closes a dialog without a change, and the focus is on the button that opened the dialog."""
    shows(stage, shown)
    stage.context.add_init_script('sessionStorage["onceover.draft"] ??= \'{"input": "A text"}\'')
    page = stage.open(view, "oo_key")
    if name.endswith("the chosen"):
        page.get_by_role("checkbox", name="Choose A name").check()
    opener = page.get_by_role("button", name=name, exact=True)
    opener.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    stage.settle()
    assert stage.serious() == []
    expect(dialog.locator(":focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    changes = [path for method, path, body in stage.asked if method != "GET" and "dryRun" not in f"{path}{body}"]
    assert changes == []


def test_after_a_deletion_the_focus_is_in_the_list(stage: Stage) -> None:
    """After a deletion the page shows the list, and the list has the focus, because the pressed button is gone."""
    shows(stage, task())
    stage.answers[f"DELETE {PATH}"] = {}
    page = stage.open(VIEW)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
    expect(page.locator("#main")).to_be_focused()


def closes(page: Page, secret: str) -> None:
    """Press the button of the dialog that shows this secret."""
    expect(page.get_by_role("dialog").locator("code")).to_have_text(secret)
    page.get_by_role("button", name="I have saved it").click()


def test_no_other_view_closes_a_secret(stage: Stage) -> None:
    """If the user has left the view before a new key comes, its dialog is shown all the same, over any further view."""
    shows(stage, task())
    held: list[Route] = []
    stage.answers["POST /api/keys"] = held.append
    page = stage.open("#/tasks", "oo_key")
    page.get_by_role("navigation").get_by_role("link", name="Keys and webhooks").click()
    expect(page.locator(".rows li")).to_have_count(2)
    with page.expect_request(lambda request: (request.method, request.url) == ("POST", f"{stage.url}/api/keys")):
        page.get_by_role("button", name="Make a key").click()
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
    """Two keys that were made at once are shown one after the other.

    A rotated secret is shown after the question whether to rotate it.
    """
    shows(stage, task())
    made = iter(["oo_first", "oo_second"])
    stage.answers["POST /api/keys"] = lambda route: route.fulfill(json={"key": next(made)})
    stage.answers[f"POST {HOOKS}/h/rotate_secret"] = {"signing_secret": "whsec_new"}
    page = stage.open("#/access", "oo_key")
    page.get_by_role("button", name="Make a key").dblclick()
    closes(page, "oo_first")
    closes(page, "oo_second")
    expect(page.get_by_role("dialog")).to_have_count(0)
    opener = page.get_by_role("button", name="Rotate the secret")
    opener.click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate the secret").click()
    closes(page, "whsec_new")
    expect(opener).to_be_focused()
