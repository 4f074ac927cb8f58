"""Tests how the page shows which chunks of a task are missing, why, and what a retry of the gaps costs."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.browser import HOSTILE
from tests.support.stage import SHAPE, TASK_ID, Stage, attempt, chunk, refuse, shaped, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
COUNTS = {"calls": 5, "succeeded": 3, "failed": 2, "inDoubt": 0, "out": 0, "unlisted": 0}
NEW_ID = f"{TASK_ID[:-1]}b"
FAILURE = {"code": "invalid_output", "message": "The output does not fit.", "retryable": True}
CODES = ("invalid_output", "output_truncated")
FAULTS = [{"pointer": f"/people/0/{HOSTILE}", "expected": HOSTILE}, {"pointer": "", "expected": "an object"}]


def gap(index: int, code: str = "invalid_output") -> dict[str, Any]:
    return {"chunk": index, "start": index * 30, "end": index * 30 + 30, "code": code}


def gap_chunk(index: int, **changed: Any) -> dict[str, Any]:
    one = chunk(index, status="gap", output=None, error=FAILURE, finishReason=None, startedAt=None, finishedAt=None)
    return one | {"attempts": 2, "firstStartedAt": None} | changed


def with_gaps(stage: Stage, total: int, gaps: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    progress = {"total": total, "completed": total - len(gaps), "failed": len(gaps), "truncated": 0}
    request = task()["request"] | SHAPE | {"inputCharacters": total * 30}
    usage = task()["usage"] | {"reasks": 3, "rejected": 5, "repaired": 1}
    whole = shaped({"people": ["Emma"]}, progress=progress, request=request, usage=usage, gaps=gaps)
    whole |= {"coverage": 1 - len(gaps) / total} | changed
    missing = {one["chunk"] for one in gaps}

    def chunks(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        first, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        some = range(first, min(first + limit, total))
        output = '{"people":["Emma"]}'
        made = [gap_chunk(index) if index in missing else chunk(index, output=output) for index in some]
        route.fulfill(json={"chunks": made, "nextCursor": str(first + limit) if first + limit < total else None})

    stage.answers |= {PATH: whole, f"{PATH}/chunks": chunks, "/api/tasks": {"tasks": [whole], "nextCursor": None}}
    stage.answers[f"{PATH}/attempts"] = {"attempts": [], "counts": COUNTS, "nextCursor": None}
    return whole


@pytest.mark.parametrize("locale", ["en-GB", pytest.param("zh-CN", marks=pytest.mark.campaign)])
def test_gaps_are_seen_at_a_glance(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    with_gaps(stage, 5, [gap(1), gap(4, "output_truncated")])
    page = stage.open(f"#/task/{TASK_ID}")
    english = locale == "en-GB"
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 gaps" if english else "2 个缺口")
    figure = page.locator(".figure", has_text="Coverage" if english else "覆盖率")
    expect(figure.locator("strong")).to_have_text("60%")
    page.locator(".figures summary").click()
    bill = page.locator(".figures .hint")
    expect(bill).to_contain_text("asked again 3, repaired 1" if english else "重新询问 3 次，修复 1 个")
    gaps = page.get_by_role("region", name="Gaps" if english else "缺口")
    expect(gaps).to_contain_text("60% of the text is covered." if english else "覆盖全文的 60%。")
    expect(gaps.locator(".gap-strip span")).to_have_count(2)
    assert "repeating-linear-gradient" in gaps.locator(".gap-strip span").first.evaluate(
        "(one) => getComputedStyle(one).backgroundImage"
    )
    rows = page.get_by_role("option")
    expect(rows.nth(1).locator(".gap-code")).to_have_text(CODES[0])
    expect(rows.nth(1)).to_have_accessible_name(
        re.compile(r"gap, invalid_output" if english else "缺口, invalid_output")
    )
    expect(rows.nth(4).locator(".call.is-gap")).to_have_count(1)
    expect(page.get_by_text("2 chunks are missing." if english else "结果缺少 2 个分片")).to_be_visible()
    stage.judge(f"gaps {locale}")
    gaps.get_by_role("button").nth(1).click()
    expect(page.get_by_role("heading", name="Chunk 5" if english else "第 5 个分片", exact=True)).to_be_visible()
    page.goto(f"{stage.url}/#/tasks")
    expect(page.locator(".list-row")).to_contain_text("gaps, covers 60%" if english else "有缺口，覆盖 60%")
    stage.judge(f"list with gaps {locale}")
    stage.close()
    assert stage.faults == []


@pytest.mark.parametrize(("reduce", "least"), [("concat", 2), ("merge", 3)])
def test_gaps_are_retried_as_a_new_task(stage: Stage, reduce: str, least: int) -> None:
    whole = with_gaps(stage, 5, [gap(1), gap(2)])
    new = whole | {"id": NEW_ID, "retryOf": TASK_ID, "gaps": [], "coverage": 1.0}
    stage.answers |= {f"/api/tasks/{NEW_ID}": new, f"/api/tasks/{NEW_ID}/chunks": {"chunks": [], "nextCursor": None}}
    refused = {"status": 429, "code": "limit_reached", "detail": "Too many tasks are in flight."}
    stage.answers[PATH] = whole | {"request": whole["request"] | {"reduce": reduce}, "maxModelCalls": 9}
    stage.answers[f"POST {PATH}/retry"] = lambda route: route.fulfill(status=429, json=refused)
    page = stage.open(f"#/task/{TASK_ID}")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Retry gaps").click()
    expect(dialog).to_contain_text("A new task fills the 2 gaps and pays only for them")
    expect(dialog).to_contain_text(f"At least {least} calls")
    expect(dialog.get_by_text("merges above the gaps")).to_have_count(int(reduce == "merge"))
    expect(dialog).to_contain_text(f"At least {least} in all")
    assert stage.serious() == []
    dialog.get_by_label("Budget, calls").fill("7")
    dialog.get_by_role("button", name="Retry gaps").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Too many tasks are in flight.")
    stage.answers[f"POST {PATH}/retry"] = new
    dialog.get_by_role("button", name="Retry gaps").click()
    page.wait_for_url(f"**/#/task/{NEW_ID}")
    assert [body for method, path, body in stage.asked if path == f"{PATH}/retry"] == [{"maxModelCalls": 7}] * 2
    link = page.get_by_role("link", name=TASK_ID[-12:])
    expect(link).to_have_attribute("href", f"#/task/{TASK_ID}")
    expect(page.get_by_role("button", name="Retry gaps")).to_have_count(0)


def test_a_chunk_shows_its_ladder(stage: Stage) -> None:
    with_gaps(stage, 5, [gap(1)])
    rejected = {"output": f"{HOSTILE} no JSON", "errors": FAULTS}
    stage.answers[f"{PATH}/chunks"] = {"chunks": [gap_chunk(1, rejected=rejected)], "nextCursor": None}
    failed = {"outcome": "failed", "answered": True}
    calls = [
        attempt(1, **failed, code="model_unavailable", message="503"),
        attempt(1, **failed, code="invalid_output", message=HOSTILE, number=2),
        attempt(1, **failed, code="model_timeout", message="late", number=3, milliseconds=None),
        attempt(1, **failed, code="invalid_output", message="again", number=4),
        attempt(2),
    ]
    stage.answers[f"{PATH}/attempts"] = lambda route: refuse(route, 503, "overloaded")
    page = stage.open(f"#/task/{TASK_ID}?chunk=1")
    part = page.get_by_role("region", name="Chunk 2")
    expect(part.get_by_role("alert").filter(has_text="No.")).to_be_visible()  # the chunk is shown without its calls
    expect(part.get_by_role("note")).to_contain_text("A gap: this chunk failed for good")
    faults = part.get_by_role("table", name="Faults of the rejected answer").locator("tbody tr")
    expect(part).to_contain_text("There is no output.")
    expect(faults).to_have_count(2)
    expect(faults.nth(0)).to_contain_text(f"/people/0/{HOSTILE}"[:30])
    expect(faults.nth(1)).to_contain_text("the whole output")
    expect(part.get_by_role("group", name="Rejected answer")).to_contain_text("no JSON")
    stage.answers[f"{PATH}/attempts"] = {"attempts": calls, "counts": COUNTS, "nextCursor": None}
    page.reload()
    rungs = part.locator(".rungs li")
    expect(rungs).to_have_count(4)
    said = [text.replace("\n", " ") for text in rungs.all_inner_texts()]
    assert ["asked again" in text for text in said] == [False, False, True, True]
    assert [text.startswith("rejected") for text in said] == [False, True, False, True]
    assert "cursor=0.0" in next(path for _, path, _ in stage.asked if "attempts" in path)
    stage.judge("ladder")
