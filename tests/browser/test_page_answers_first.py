"""The view of a task begins with its result or failure, lists its calls, and loses no text and no secret."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import HOSTILE
from tests.support.stage import BEGAN, TASK_ID, Stage, attempt, chunk, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
PARTLY = {"total": 3, "completed": 2, "failed": 1, "truncated": 0}


def shows(stage: Stage, shown: dict[str, Any], chunks: list[dict[str, Any]]) -> None:
    def answer(route: Route) -> None:
        first = int(parse_qs(urlsplit(route.request.url).query).get("cursor", ["0"])[0])
        route.fulfill(json={"chunks": chunks[first:], "nextCursor": None})

    stage.answers |= {PATH: shown, f"{PATH}/chunks": answer, f"{PATH}/deliveries": {"deliveries": []}}


def failed(stage: Stage, code: str, *, retryable: bool) -> None:
    error = {"code": code, "message": HOSTILE, "retryable": retryable}
    lost = {"status": "failed", "output": None, "error": error, "startedAt": None, "finishedAt": None}
    chunks = [chunk(0), chunk(1, **lost, firstStartedAt=None), chunk(2)]
    shows(stage, task(status="failed", error=error, progress=PARTLY), chunks)


def headings(page: Page) -> list[str]:
    return page.locator("main h2").all_inner_texts()


def test_a_completed_task_begins_with_its_result(stage: Stage) -> None:
    chunks = [chunk(0), chunk(1, finishReason="length", attempts=2), chunk(2, lane=2)]
    shows(stage, task(result={"output": "The answer."}), chunks)
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.locator(".fall-row")).to_have_count(3)
    assert headings(page) == ["Result", "Chunks over time", "Request"]
    legend = ["waiting", "completed", "cut off", "failed calls, and waits for the next try", "×2Calls", "L2Lane"]
    expect(page.locator(".legend > span")).to_have_text(legend)
    expect(page.locator(".figure")).to_have_text(["Model calls 3", "Tokens 30 → 60"])
    expect(page.get_by_text("sent, no answer seen")).to_be_hidden()
    page.locator(".figures summary").press("Enter")
    expect(page.locator(".figures .hint")).to_contain_text("In doubt 0 sent, no answer seen")
    assert stage.violations() == []


@pytest.mark.parametrize(
    ("code", "retryable", "said", "acts"),
    [
        ("model_timeout", True, "the model did not answer in time", ["Retry", "Run again with changes"]),
        ("model_refused", False, "the model refused", ["Run again with changes", "Retry"]),
        ("budget_exhausted", False, "the budget of calls ran out", ["Retry", "Run again with changes"]),
    ],
)
def test_a_failed_task_begins_with_what_helps(
    stage: Stage, code: str, retryable: bool, said: str, acts: list[str]
) -> None:
    failed(stage, code, retryable=retryable)
    page = stage.open(f"#/task/{TASK_ID}")
    part = page.get_by_role("region", name=f"Chunk 2 of 3 failed because {said}.")
    expect(part.locator("blockquote[lang='']")).to_have_text(HOSTILE)
    expect(part.locator("button.primary")).to_have_text(acts[0])
    assert headings(page)[0] == f"Chunk 2 of 3 failed because {said}."
    expect(page.locator(".head").get_by_role("button", name=acts[0])).to_have_count(0)
    expect(page.locator(".head").get_by_role("button", name=acts[1])).to_have_count(1)
    part.get_by_role("button", name="Show chunk 2").click()
    quote = page.get_by_role("region", name="Chunk 2", exact=True).locator("q[lang='']")
    expect(quote).to_have_text(HOSTILE)
    assert stage.violations() == []


def test_a_refusal_of_the_server_is_quoted(stage: Stage) -> None:
    problem = {"status": 422, "code": "invalid_fields", "detail": "input must not be empty", "requestId": "r"}
    stage.answers[PATH] = lambda route: route.fulfill(status=422, json=problem)
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.get_by_role("alert")).to_contain_text("The server answered 422.")
    expect(page.get_by_role("alert").locator("q[lang='']")).to_have_text("input must not be empty")


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("count", [1, 25])
def test_the_first_task_stands_near_the_top(browser: Browser, width: int, locale: str, count: int) -> None:
    stage = Stage(browser, locale=locale, viewport={"width": width, "height": 800})
    counts = {"pending": 1, "processing": 2, "completed": 290, "failed": 5, "cancelled": 2, "among": 300, "all": True}
    stage.answers["/api/tasks"] = {"tasks": [task()] * count, "nextCursor": "next", "counts": counts}
    row = stage.open("#/tasks").locator(".list-row").first
    expect(row).to_be_visible()
    box = row.bounding_box()
    assert box
    assert box["y"] < 300
    stage.close()


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
