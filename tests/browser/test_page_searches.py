"""Tests the search in the list of tasks: filters, counts and times in the address, and what can be copied."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.browser import HOSTILE
from tests.support.stage import TASK_ID, Stage, task

pytestmark = pytest.mark.runtime
NOW = "2026-11-28T12:00:30Z"
LIST: dict[str, Any] = {"tasks": [task(name=HOSTILE, metadata={})], "nextCursor": None}
COUNTS = {"pending": 0, "processing": 1, "completed": 80, "failed": 2, "cancelled": 0, "among": 500, "all": False}


def answer(route: Route) -> None:
    route.fulfill(json=LIST | ({"counts": COUNTS} if "counts=true" in route.request.url else {}))


def asked(stage: Stage) -> dict[str, str]:
    paths = [path for method, path, _ in stage.asked if method == "GET"]
    return {name: value for name, value in parse_qsl(urlsplit(paths[-1]).query) if name != "counts"}


def test_the_list_is_searched_by_what_a_person_knows(stage: Stage) -> None:
    stage.answers["/api/tasks"] = answer
    page = stage.open("#/tasks")
    expect(page.locator(".list-row bdi")).to_have_text(HOSTILE)
    page.get_by_role("searchbox", name="Search").fill("minutes & more")
    page.wait_for_url("**/#/tasks?q=minutes+%26+more")
    page.get_by_text("More filters").click()
    page.get_by_label("Failed with").select_option("model_timeout")
    page.get_by_label("Route").select_option("queue")
    with page.expect_request("**/api/tasks?*model=gpt-5**"):
        page.get_by_role("searchbox", name="Model").fill("gpt-5")
    stage.settle()
    wanted = {"q": "minutes & more", "code": "model_timeout", "route": "queue", "model": "gpt-5", "limit": "25"}
    assert asked(stage) == wanted
    assert page.title() == "minutes & more · Tasks · onceover"
    page.reload()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("minutes & more")
    expect(page.get_by_label("Failed with")).to_have_value("model_timeout")
    stage.settle()
    assert asked(stage) == wanted
    assert stage.serious() == []


def test_the_counts_by_status_are_the_filters(stage: Stage) -> None:
    stage.answers["/api/tasks"] = answer
    page = stage.open("#/tasks")
    counts = page.get_by_role("group", name="Status").get_by_role("link")
    expect(counts).to_have_text(["All 500", "Failed 2", "Processing 1", "Completed 80"])
    expect(page.get_by_text("of the newest 500 tasks")).to_be_visible()
    page.get_by_role("link", name="Failed 2").click()
    page.wait_for_url("**/#/tasks?status=failed")
    expect(page.get_by_role("link", name="Failed 2")).to_have_attribute("aria-current", "true")
    stage.settle()
    lists = [path for _, path, _ in stage.asked if path.startswith("/api/tasks?")]
    assert ["counts=true" in path for path in lists] == [True, True]
    assert stage.serious() == []


def test_a_list_that_changes_is_counted_again_after_a_minute(stage: Stage) -> None:
    stage.answers["/api/tasks"] = answer
    page = stage.page
    page.clock.install(time=NOW)
    stage.open("#/tasks?q=minutes")
    expect(page.get_by_text("Completed 80")).to_be_visible()

    def counted() -> int:
        return len([path for _, path, _ in stage.asked if "counts" in path])

    for _ in range(20):
        page.clock.run_for(60_000)
        stage.settle()
    assert counted() == 1
    page.get_by_role("button", name="Refresh").click()
    stage.settle()
    assert counted() == 2
    stage.answers["/api/tasks"] = lambda route: route.fulfill(
        json=LIST | {"tasks": []} | ({"counts": COUNTS} if "counts" in route.request.url else {})
    )
    for _ in range(30):
        page.clock.run_for(60_000)
        stage.settle()
    assert counted() == 3


def test_times_in_an_address_are_the_same_everywhere(browser: Browser) -> None:
    addresses: list[str] = []
    for zone, shown in (("Asia/Tokyo", "2026-11-28T19:00"), ("America/New_York", "2026-11-28T05:00")):
        stage = Stage(browser, timezone_id=zone, permissions=["clipboard-read", "clipboard-write"])
        stage.page.clock.set_fixed_time(NOW)
        stage.answers["/api/tasks"] = answer
        page = stage.open(addresses[0] if addresses else "#/tasks")
        if not addresses:
            page.get_by_role("button", name="More filters").click()
            page.get_by_label("Created", exact=True).select_option("between")
            page.get_by_label("Created after").fill(shown)
            with page.expect_request("**/api/tasks?createdAfter=**"):
                page.get_by_label("Created after").press("Enter")
            addresses.append("#" + page.url.partition("#")[2])
        expect(page.get_by_label("Created after")).to_have_value(shown)
        stage.settle()
        assert asked(stage)["createdAfter"] == "2026-11-28T10:00:00.000Z"
        with page.expect_request("**/api/tasks?createdAfter=2026-11-28T11**"):
            page.get_by_label("Created", exact=True).select_option("1h")
        stage.settle()
        assert page.url.endswith("#/tasks?last=1h")
        assert asked(stage) == {"createdAfter": "2026-11-28T11:00:00.000Z", "limit": "25"}
        page.get_by_role("button", name="Copy the link").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == f"{stage.url}/#/tasks?after=2026-11-28T11%3A00%3A00.000Z"
        stage.close()
        assert stage.faults == []


def test_a_link_an_id_and_a_command_are_copied_without_the_key(browser: Browser) -> None:
    stage = Stage(browser, permissions=["clipboard-read", "clipboard-write"])
    stage.answers[f"/api/tasks/{TASK_ID}"] = task()
    page = stage.open(f"#/task/{TASK_ID}?chunk=1", "oo_key")
    copied: list[str] = []
    for name in ("Copy the link", "Copy the id", "Copy as curl"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name="Copied")).to_have_count(len(copied) + 1)
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    assert copied[0] == f"{stage.url}/#/task/{TASK_ID}"
    assert copied[1] == TASK_ID
    assert copied[2] == f"curl -sS -H \"Authorization: Bearer $KEY\" '{stage.url}/api/tasks/{TASK_ID}'"
    assert page.title() == "A name · onceover"
    quoted = page.evaluate("import('/app/views/share.js').then(({ curl }) => curl(\"/api/tasks?q='$(rm)\"))")
    assert "?q=%27$(rm)'" in quoted
    stage.close()
    assert stage.faults == []


def test_an_empty_list_offers_a_text_and_the_command(stage: Stage) -> None:
    stage.answers["/api/tasks"] = {"tasks": [], "nextCursor": None, "counts": dict.fromkeys(COUNTS, 0) | {"all": True}}
    plan = {"chunks": [{"index": 0, "start": 0, "end": 8}], "request": task()["request"], "characters": 8}
    stage.answers["POST /api/tasks"] = plan | {"minimumCalls": 1, "estimatedTokens": 2}
    page = stage.open("#/tasks", "oo_key")
    command = page.get_by_role("group", name="Or submit it from a shell:")
    expect(command).to_contain_text(f"curl -sS -H \"Authorization: Bearer $KEY\" '{stage.url}/api/tasks'")
    page.get_by_role("button", name="Try a sample text").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value(re.compile("The library opens at nine"))
    page.get_by_label("Text", exact=True).fill("My own text")
    page.go_back()
    page.get_by_role("button", name="Try a sample text").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value("My own text")
    assert stage.serious() == []
