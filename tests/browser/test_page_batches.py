"""Batches on the page: from the list to the files, and what each state says."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support.browser import HOSTILE, Watched
from tests.support.client import Client
from tests.support.model_server import ModelServer
from tests.support.page_batches import BATCH, BATCH_ID, OUTPUT_ID, TASK, answers, line, start, task_of
from tests.support.stage import TASK_ID, Stage

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


VIEW = f"#/task/{TASK_ID}"
LINES_MOST = 20_000
NODES_MOST = 400
FAULTS = [
    {"code": "duplicate_custom_id", "line": number + 1, "message": f"Used {HOSTILE}", "param": f"custom_id{HOSTILE}"}
    for number in range(100)
]
# A batch's state, the sentence about it in the list, and sentences about it in its view, in English and in Chinese.
STATES = [
    ("validating", (0, 0, 0), "the file is being checked", "Each line of the file is being checked."),
    ("in_progress", (8, 3, 1), "3 of 8 lines · 1 failed", "The error file is written at the end."),
    ("finalizing", (8, 7, 1), "7 of 8 lines · 1 failed", "The calls are over. The files are being completed."),
    ("cancelling", (8, 3, 0), "3 of 8 lines", "No new call starts. The files are being completed."),
    ("cancelled", (8, 3, 5), "3 of 8 lines · 5 failed", "5 lines"),
    ("cancelled", (0, 0, 0), "no lines were counted", "no lines were counted"),
    ("expired", (8, 3, 5), "3 of 8 lines · 5 failed", "The completion window has ended. The answers so far are kept."),
    ("failed", (8, 0, 8), "0 of 8 lines · 8 failed", "No line has an answer."),
    ("completed", (1, 1, 0), "1 of 1 line", "No line failed."),
]
BUTTONS = {"validating": "Cancel", "in_progress": "Cancel", "cancelled": "Retry", "expired": "Retry", "failed": "Retry"}


def no_nonsense(page: Page) -> None:
    text = page.locator("#main").inner_text()
    assert re.search(r"NaN|null|undefined|of 0\b|0 / 0|\{\w+\}|\b[a-z]+\.[a-z]+\b", text) is None, text


def test_each_state_says_what_it_is(stage: Stage) -> None:
    page = stage.page
    for status, counts, listed, said in STATES:
        stage.answers |= answers(status, *counts)
        if stage.asked:
            page.get_by_role("navigation").get_by_role("link", name="Tasks").click()
        else:
            stage.open("#/tasks")
        expect(page.locator(".list-row .progress")).to_have_text(listed)
        expect(page.locator(".list-row").get_by_role("progressbar")).to_have_count(int(counts[0] > 0))
        no_nonsense(page)
        page.goto(f"{stage.url}/{VIEW}")
        expect(page.locator("#main").get_by_text(said, exact=False).first).to_be_visible()
        chip = page.get_by_role("heading", level=1).locator(".chip")
        expect(chip).to_have_text(status.replace("_", " ").capitalize())
        expect(page.locator(".fall")).to_have_count(0)
        stage.settle()
        no_nonsense(page)
        labels = page.locator(".head", has=page.locator("h1")).get_by_role("button").all_inner_texts()
        offered = BUTTONS.get(status, "") if counts[0] or status == "validating" else ""
        assert [label.split()[0] for label in labels] == ([offered] if offered else []) + ["Delete"], status
        bars = page.get_by_role("progressbar")
        expect(bars).to_have_count(int(counts[0] > 0))
        assert stage.serious() == [], status


@pytest.mark.parametrize(
    ("locale", "width", "scheme"),
    [("en-GB", 375, "dark"), pytest.param("zh-CN", 375, "light", marks=pytest.mark.campaign)],
)
def test_a_batch_fits_a_phone(browser: Browser, locale: str, width: int, scheme: str) -> None:
    stage = Stage(browser, locale=locale, viewport={"width": width, "height": 800}, color_scheme=scheme)
    faults = {"object": "list", "data": FAULTS}
    stage.answers |= answers("failed", changed={"errors": faults, "metadata": {"name": "n" * 300}})
    page = stage.open(VIEW)
    english = locale == "en-GB"
    rows = page.get_by_role("table", name="Faults of the file" if english else "文件中的错误").locator("tbody tr")
    expect(rows).to_have_count(100)
    expect(rows.first).to_contain_text(HOSTILE[:20])
    expect(page.get_by_text("The first 100 faults." if english else "前 100 处错误。")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert stage.serious() == []
    stage.answers |= answers("completed", 12_000, 11_999, 1)
    page.reload()
    expect(page.get_by_text("11,999 lines" if english else "11,999 行", exact=True)).to_be_visible()
    page.get_by_role("button", name="Retry the failed lines" if english else "重试失败的行").click()
    one = "A new batch retries the line without an answer." if english else "新的批处理只处理没有回答的 1 行。"
    expect(page.get_by_role("dialog")).to_contain_text(one)
    assert stage.serious() == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Retry the failed lines" if english else "重试失败的行")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    stage.picture(f"batch {locale} {scheme}")
    page.goto(f"{stage.url}/#/tasks")
    expect(page.locator(".list-row .tag")).to_have_text("Batch" if english else "批处理")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    stage.close()
    assert stage.faults == []


def test_many_lines_cost_no_more_than_few(stage: Stage) -> None:
    stage.answers |= answers("in_progress", LINES_MOST, 12_345, 678)
    page = stage.open(VIEW)
    expect(page.get_by_role("progressbar")).to_have_accessible_name("12,345 of 20,000 lines")
    stage.settle()
    assert page.evaluate("document.querySelectorAll('*').length") < NODES_MOST
    assert {path for method, path, _ in stage.asked if method == "GET"} == {TASK, BATCH}


def test_early_answers_are_read_in_parts(stage: Stage) -> None:
    """The API may answer with only some of a file's lines."""
    stage.answers |= answers("in_progress", 9, 5, 0)

    def content(route: Route) -> None:
        behind = int(parse_qs(urlsplit(route.request.url).query)["offset"][0])
        lines = [json.dumps({"custom_id": f"r-{number}"}) + "\n" for number in range(behind, min(behind + 2, 7))]
        headers = {"X-Last-Line": str(behind + len(lines)), "X-Incomplete": "true"}
        route.fulfill(body="".join(lines), headers=headers)

    stage.answers[f"/v1/files/{OUTPUT_ID}/content"] = content
    page = stage.open(VIEW, "oo_key")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the answers").click()
    assert download.value.suggested_filename == f"{BATCH_ID}_output.jsonl"
    lines = Path(download.value.path()).read_text().splitlines()
    assert [json.loads(one)["custom_id"] for one in lines] == [f"r-{number}" for number in range(6)]
    asked = [path for _, path, _ in stage.asked if "/content" in path]
    assert [path.partition("?")[2] for path in asked] == ["offset=0", "offset=2", "offset=4"]


def test_an_operator_sees_and_changes_batches_of_another_tenant(stage: Stage) -> None:
    stage.answers |= answers("in_progress", 3, 2, 0)
    stage.answers |= {
        f"POST {BATCH}/cancel": {},
        f"/v1/files/{OUTPUT_ID}/content": lambda route: route.fulfill(body=""),
    }
    stage.context.add_init_script("sessionStorage['onceover.tenant'] = 'other'")
    page = stage.open(VIEW, "oo_key")
    page.get_by_role("button", name="Save the answers").click()
    expect(page.locator(".sr[role=status]")).to_have_text("Saved")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the batch").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    about = [path for _, path, _ in stage.asked if TASK_ID in path or BATCH_ID in path or OUTPUT_ID in path]
    assert {"tenant=other" in path for path in about} == {True}
    assert any(path.startswith(f"{BATCH}/cancel") for path in about)
