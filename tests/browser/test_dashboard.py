"""Tests the dashboard in a real browser with the local runtime: what users do, and what must never happen."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser import HOSTILE, Watched
from tests.support.client import Client, paragraphs, variables
from tests.support.dev_server import DevServer
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
REFUSAL = "<svg onload=alert(3)> no"
CHUNKS = {"maxChars": 40}


def test_from_a_wrong_key_to_a_result(tab: Watched, model: ModelServer, key: str) -> None:
    page = tab.open("#/tasks")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("API key").fill("oo_wrong")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("The key was refused")
    dialog.get_by_label("API key").fill(key)
    dialog.get_by_role("button", name="Use this key").click()
    expect(page.get_by_text("No task yet")).to_be_visible()
    assert set(tab.refused) == {401}

    page.get_by_role("navigation").get_by_role("link", name="New task").click()
    chosen = {"name": "notes.txt", "mimeType": "text/plain", "buffer": "From a file: 文".encode()}
    page.locator("#file").set_input_files(chosen)  # type: ignore[arg-type]
    expect(page.get_by_label("Text", exact=True)).to_have_value("From a file: 文")
    expect(page.get_by_text("notes.txt")).to_be_visible()
    page.get_by_label("Text", exact=True).fill(paragraphs(9))
    page.get_by_text("More options").click()
    page.get_by_label("Chunk size").fill("40")
    page.get_by_label("Metadata").fill('{"name": "In the browser"}')
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator(".cut")).to_have_count(9)
    expect(page.locator(".cut").nth(4)).to_contain_text("part 004")
    assert tab.serious() == []
    assert model.calls() == []
    page.reload()  # the page keeps the draft after a reload
    page.get_by_role("button", name="Show the plan").click()

    model.hold()
    page.get_by_role("button", name="Submit: 9 calls").click()
    rows = page.get_by_role("option")
    expect(rows).to_have_count(9)
    expect(page.locator(".call.is-out").nth(5)).to_be_visible()
    expect(rows.first).to_have_accessible_name(re.compile("call in progress"))
    model.release()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator(".fall .call.is-done")).to_have_count(8)
    expect(page.locator(".fall .call.is-cut")).to_have_count(1)
    assert page.locator(".fall-note").all_inner_texts().count("") == 0  # each chunk shows its duration
    rows.nth(2).click()
    expect(page.get_by_text("This output is cut off")).to_be_visible()
    expect(page.get_by_role("group", name="Output")).to_contain_text("analysis of")
    page.get_by_role("listbox").press("ArrowDown")
    expect(page.get_by_role("heading", name="Chunk 4")).to_be_visible()
    assert page.url.endswith("?chunk=3")
    page.reload()
    expect(page.get_by_role("heading", name="Chunk 4")).to_be_visible()
    expect(page.get_by_text("The text is no longer kept")).to_be_visible()
    expect(page.get_by_role("group", name="Result")).to_contain_text("analysis of")
    assert tab.serious() == []
    tab.picture("task")


def test_cancel_and_retry_and_many_at_once(tab: Watched, client: Client, model: ModelServer, key: str) -> None:
    failed = [client.finished(client.submit(f"doom\n\n{paragraphs(2)}", chunk=CHUNKS)["id"])["id"] for _ in range(2)]
    model.hold()
    held = client.submit(paragraphs(3), chunk=CHUNKS)["id"]
    model.wait_for_in_flight(3, 60)
    page = tab.open(f"#/task/{held}", key)
    expect(page.locator(".fall .call.is-out")).to_have_count(3)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancelled")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("dialog")).to_contain_text("At least 3 calls")
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("Cancelled")
    model.release()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    bill = client.task(held)["usage"]
    expect(page.locator(".figure", has_text="Model calls").locator("strong")).to_have_text(str(bill["modelCalls"]))
    expect(page.locator(".figure", has_text="In doubt").locator("strong")).to_have_text(str(bill["inDoubt"]))

    page = tab.open("#/tasks")
    page.get_by_role("link", name="Failed 2").click()
    expect(page.locator(".list-row")).to_have_count(2)
    assert page.url.endswith("#/tasks?status=failed")
    page.reload()
    expect(page.get_by_role("link", name="Failed 2")).to_have_attribute("aria-current", "true")
    expect(page.locator(".list-row")).to_have_count(2)
    assert tab.serious() == []
    page.get_by_role("checkbox").first.check()
    told = client.http.post("/api/tasks/retry", json={"dryRun": True}).json()
    page.get_by_role("button", name="Retry all failed").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"2 failed tasks, at most {told['maximumCalls']} calls.")
    assert tab.serious() == []
    page.get_by_role("button", name="Retry 2 tasks").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 tasks retried.")
    for task in failed:
        assert client.finished(task)["attempts"] >= 2
    page.get_by_role("button", name="Close").click()
    page.goto(f"{tab.url}/#/task/{failed[0]}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".list-row")).to_have_count(3)
    assert client.http.get(f"/api/tasks/{failed[0]}").status_code == 404


def test_what_is_hostile_is_shown_as_text(tab: Watched, client: Client, key: str) -> None:
    line, chunk = "x" * 200_000, {"maxChars": 100_000}
    named = {"metadata": {"name": HOSTILE}, "instructions": HOSTILE}
    done = client.submit(f"{HOSTILE}\n\n{line}", chunk=chunk, **named)["id"]
    doomed = client.submit(f"doom {HOSTILE}\n\n{line}", chunk=chunk, **named)["id"]
    assert [client.finished(task)["status"] for task in (done, doomed)] == ["completed", "failed"]
    page = tab.open("#/tasks", key)
    for row in (0, 1):
        expect(page.locator(".list-row bdi").nth(row)).to_have_text(HOSTILE)
    for task, names in ((done, ("Output", "Result", "Instructions")), (doomed, ("Source text", "Instructions"))):
        page.goto(f"{tab.url}/#/task/{task}?chunk=0")
        for name in names:
            expect(page.get_by_role("group", name=name)).to_contain_text("<script>alert(2)</script>")
        expect(page.get_by_role("heading", level=1).locator("bdi")).to_have_text(HOSTILE)
        assert page.locator("img, main script, iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 1280
    expect(page.locator(".notice bdi").first).to_contain_text(REFUSAL)


def test_a_restart_of_the_server_is_survived(
    tab: Watched, client: Client, model: ModelServer, server: DevServer, key: str
) -> None:
    task = client.submit(f"{paragraphs(2)}\n\nThis part lingers on.", chunk=CHUNKS)["id"]
    page = tab.open(f"#/task/{task}", key)
    expect(page.locator(".fall .call.is-done")).to_have_count(2)
    expect(page.locator(".fall .call.is-out")).to_have_count(1)
    page.get_by_role("option").first.click()
    expect(page.get_by_role("group", name="Source text")).to_contain_text("part 000")
    expect(page.get_by_role("group", name="Output")).to_contain_text("analysis of")
    server.kill()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_text("out of date")).to_be_visible()
    expect(page.get_by_role("option")).to_have_count(3)
    page.get_by_role("navigation").get_by_role("link", name="Health").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    server.command += variables({"KEEP_INPUT": "true"})
    server.lines.clear()
    server.start()
    expect(page.get_by_role("heading", level=1)).to_have_text("Health", timeout=60_000)
    page.go_back()
    expect(page.get_by_role("option")).to_have_count(3)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_text("out of date")).to_have_count(0)
    kept = client.finished(client.submit(paragraphs(2), chunk=CHUNKS)["id"])["id"]
    page.goto(f"{tab.url}/#/task/{kept}?chunk=1")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.get_by_role("group", name="Source text")).to_contain_text("part 001")
    assert client.http.post(f"/api/tasks/{task}/cancel").status_code == 200
