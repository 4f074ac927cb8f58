"""Tests the view of a batch with the local runtime: a running, a completed, an invalid and a cancelled batch."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import HOSTILE, Watched
from tests.support.client import Client
from tests.support.model_server import ModelServer
from tests.support.page_batches import line, start, task_of

pytestmark = pytest.mark.runtime
MIXED = "".join(line(f"r-{number}", "doom" if number % 3 == 0 else f"text {number}") for number in range(6))


def figure(page: Page, name: str) -> Locator:
    return page.locator(".figure", has=page.get_by_text(name, exact=True))


def saved(page: Page, button: str) -> tuple[str, list[dict[str, Any]]]:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).press("Enter")
    lines = Path(download.value.path()).read_text().splitlines()
    return download.value.suggested_filename, [json.loads(one) for one in lines]


def test_a_batch_from_the_list_to_its_files(tab: Watched, client: Client, model: ModelServer, key: str) -> None:
    model.hold()
    batch = start(client, MIXED, metadata={"name": f"Nightly {HOSTILE}"})
    model.wait_for_in_flight(1)
    page = tab.open("#/tasks", key)
    row = page.locator(".list-row", has_text="Nightly")
    expect(row).to_contain_text("Batch")
    expect(row).to_contain_text("0 of 6 lines")
    assert tab.serious() == []
    row.get_by_role("link").press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text(f"In progress Batch Nightly {HOSTILE}")
    expect(figure(page, "Answered")).to_contain_text("0 / 6")
    expect(page.get_by_role("button", name="Save the answers")).to_be_disabled()
    expect(page.get_by_text("No line has an answer yet.")).to_be_visible()
    expect(page.get_by_role("listbox")).to_have_count(0)
    assert tab.serious() == []
    tab.picture("batch in progress")
    model.release()
    expect(heading).to_contain_text("Completed")
    expect(figure(page, "Answered").locator("strong")).to_have_text("4 / 6")
    expect(figure(page, "Failed").locator("strong")).to_have_text("2")
    name, answers = saved(page, "Save the answers")
    assert name == f"{batch['id']}_output.jsonl"
    assert sorted(one["custom_id"] for one in answers) == ["r-1", "r-2", "r-4", "r-5"]
    _, errors = saved(page, "Save the errors")
    assert sorted(one["custom_id"] for one in errors) == ["r-0", "r-3"]
    page.get_by_role("button", name="Show the failed calls").press("Enter")
    calls = page.get_by_role("table", name="Calls").locator("tbody tr")
    expect(calls).to_have_count(2)
    expect(calls.nth(1)).to_contain_text("Line 4 call 1")
    assert tab.serious() == []
    tab.picture("batch completed")
    page.get_by_role("button", name="Retry the failed lines").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("A new batch retries the 2 lines without an answer.")
    expect(dialog).to_contain_text("At least 2 calls")
    assert tab.serious() == []
    dialog.get_by_role("button", name="Start the new batch").press("Enter")
    expect(figure(page, "Answered")).to_contain_text("/ 2")
    assert not page.url.endswith(task_of(batch))
    expect(heading).to_contain_text("Completed")
    expect(page.get_by_text("No line has an answer.")).to_be_visible()
    assert tab.refused == []
    assert not [one for one in tab.requests if one.endswith("/events") or "/chunks?" in one]


def test_early_answers_are_saved_and_the_rest_is_cancelled(
    tab: Watched, client: Client, model: ModelServer, key: str
) -> None:
    texts = ["text a", "text b", "lingers"]
    batch = start(client, "".join(line(f"r-{number}", text) for number, text in enumerate(texts)))
    page = tab.open(f"#/task/{task_of(batch)}", key)
    expect(page.get_by_text("2 lines so far")).to_be_visible()
    _, early = saved(page, "Save the answers")
    assert sorted(one["custom_id"] for one in early) == ["r-0", "r-1"]
    page.get_by_role("button", name="Cancel").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("No further model call starts.")
    dialog.get_by_role("button", name="Cancel the batch").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancel")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled", timeout=100_000)
    expect(figure(page, "Failed").locator("strong")).to_have_text("1")
    _, errors = saved(page, "Save the errors")
    assert [one["error"]["code"] for one in errors] == ["batch_cancelled"]
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    page.wait_for_url("**/#/tasks")
    assert client.http.get(f"/v1/batches/{batch['id']}").status_code == 404
