"""Tests the page's search, its log of calls, and the rights of keys with the real API."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import HOSTILE, Watched
from tests.support.client import Client, paragraphs
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key

pytestmark = pytest.mark.runtime
CHUNKS = {"maxChars": 40}


def test_a_failed_task_is_found_and_its_calls_are_read(tab: Watched, client: Client, key: str) -> None:
    """A user searches by a name and a code, sees the counts, opens the task, and goes to the failed call."""
    named = {"metadata": {"name": f"Minutes {HOSTILE}"}}
    failed = client.finished(client.submit(f"doom\n\n{paragraphs(2)}", chunk=CHUNKS, **named)["id"])
    done = client.finished(client.submit(paragraphs(2), chunk=CHUNKS, metadata={"title": "Minutes, done"})["id"])
    page = tab.open("#/tasks", key)
    page.get_by_role("searchbox", name="Search").fill("minutes")
    expect(page.locator(".list-row")).to_have_count(2)
    expect(page.locator(".counts")).to_contain_text("Completed 1 Failed 1")
    page.locator(".counts").get_by_role("link", name="Failed 1").click()
    page.get_by_text("More filters").click()
    page.get_by_label("Failed with").select_option(failed["error"]["code"])
    expect(page.locator(".list-row")).to_have_count(1)
    page.locator(".list-row a").click()
    page.get_by_role("button", name="Jump to what failed").click()
    rows = page.locator(".table tbody tr")
    expect(rows.first).to_contain_text(failed["error"]["code"])
    expect(rows.first).to_contain_text("Chunk 1 call 1")
    page.get_by_label("Outcome").select_option("succeeded")
    expect(rows).to_have_count(failed["progress"]["completed"])
    page.goto(f"{tab.url}/#/tasks?q={done['id'][:20]}")
    expect(page.locator(".list-row")).to_have_count(1)
    expect(page.locator(".list-row bdi")).to_have_text("Minutes, done")
    assert tab.serious() == []
    assert tab.refused == []


def test_a_key_without_write_is_offered_nothing_to_change(tab: Watched, client: Client, server: DevServer) -> None:
    """The page offers no changes to a key without the scope `write`, whose dry run the API refuses."""
    task = client.finished(client.submit("some text")["id"])["id"]
    reader = client.http.post("/api/keys", json={"scopes": ["read"]}).json()["key"]
    page = tab.open(f"#/task/{task}", reader)
    expect(page.get_by_role("button", name="Copy the id")).to_be_visible()
    tab.settle()
    for name in ("Delete", "Tenant: Own tenant"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    assert tab.refused == [403, 403]
    page.get_by_role("button", name="Key set").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(insert_key(server.persist_to))
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
