"""Tests acts on tasks in the page: on several tasks at once, again with changes, and with a key that may not write."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.stage import HEALTH, TASK_ID, Stage, refuse, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
PARTLY = {"total": 3, "completed": 1, "failed": 0, "truncated": 0}
FAILURE = {"code": "model_timeout", "message": "no answer", "retryable": True}
PLAN = {"chunks": [{"index": 0, "start": 0, "end": 8}], "request": task()["request"], "characters": 8}
TEXT = "A text that is not submitted yet."


def several(stage: Stage) -> list[str]:
    ids = [f"{TASK_ID[:-1]}{number}" for number in range(4)]
    failed = task(status="failed", progress=PARTLY, error=FAILURE)
    shown = [failed, failed, task(status="pending", terminal=False, finishedAt=None), task()]
    tasks = [one | {"id": task_id, "name": f"Task {task_id[-1]}"} for one, task_id in zip(shown, ids, strict=True)]
    stage.answers["/api/tasks"] = {"tasks": tasks, "nextCursor": None}
    return ids


@pytest.mark.parametrize("locale", ["en-GB", pytest.param("zh-CN", marks=pytest.mark.campaign)])
def test_rows_are_chosen_and_retried(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    english = locale == "en-GB"
    ids = several(stage)
    stage.answers |= {f"POST /api/tasks/{task_id}/retry": {} for task_id in ids[:2]}
    page = stage.open("#/tasks")
    page.get_by_role("checkbox", name="Choose all tasks of this page" if english else "选择本页全部任务").check()
    expect(page.get_by_text("4 chosen" if english else "已选 4 个")).to_be_visible()
    stage.judge(f"chosen {locale}")
    page.get_by_role("button", name="Retry the chosen" if english else "重试所选").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 tasks, at least 4 calls." if english else "2 个任务，至少 4 次调用。")
    expect(dialog).to_contain_text("2 of the chosen cannot" if english else "所选中有 2 个不适用")
    assert stage.serious() == []
    page.get_by_role("button", name="Retry 2 tasks" if english else "重试 2 个任务").click()
    expect(dialog).to_contain_text("2 tasks retried." if english else "已重试 2 个任务。")
    acts = [path for method, path, _ in stage.asked if method == "POST" and "dryRun" not in path]
    assert acts == [f"/api/tasks/{task_id}/retry" for task_id in ids[:2]]
    page.get_by_role("button", name="Close" if english else "关闭").click()
    expect(page.locator(".chosen")).to_have_count(0)
    expect(page.locator("#main")).to_be_focused()
    stage.close()
    assert stage.faults == []


def test_chosen_rows_are_cancelled_and_deleted(stage: Stage) -> None:
    ids = several(stage)
    stage.answers[f"POST /api/tasks/{ids[2]}/cancel"] = lambda route: refuse(route, 409, "already_terminal")
    page = stage.open("#/tasks")
    page.get_by_role("checkbox", name="Choose Task 2").check()
    page.get_by_role("button", name="Cancel the chosen").click()
    page.get_by_role("button", name="Cancel 1 task").click()
    expect(page.get_by_role("dialog")).to_contain_text("0 tasks cancelled.")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Close").click()
    stage.answers[f"DELETE /api/tasks/{ids[0]}"] = {}
    stage.answers[f"DELETE /api/tasks/{ids[1]}"] = lambda route: refuse(route, 503, "overloaded")
    for number in (0, 1, 3):
        page.get_by_role("checkbox", name=f"Choose Task {number}").check()
    page.get_by_role("button", name="Delete the chosen").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 tasks, with their texts, outputs and results.")
    page.get_by_role("button", name="Delete 3 tasks").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 task deleted.")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    assert [path for method, path, _ in stage.asked if method == "DELETE"] == [f"/api/tasks/{one}" for one in ids[:2]]


def test_a_task_is_run_again_with_changes(stage: Stage) -> None:
    asked = {"model": "gpt-5", "instructions": "Sum up.", "reduce": "merge", "maxOutputTokens": 90, "temperature": 0}
    asked |= {"chunk": {"maxChars": 30, "overlapChars": 5}, "modelOptions": {"top_p": 1}, "inputCharacters": 8}
    stage.answers |= {PATH: task(request=asked, maxModelCalls=7, input="Old text"), "/api/tasks": {"tasks": []}}
    page = stage.open("#/submit")
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.goto(f"{stage.url}/#/task/{TASK_ID}")
    page.get_by_role("button", name="Run again with changes").click()
    expect(page.get_by_role("dialog")).to_contain_text("This replaces it.")
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    page.get_by_role("navigation").get_by_role("link", name="New task").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    page.get_by_label("Text", exact=True).fill("")
    page.go_back()
    page.get_by_role("button", name="Run again with changes").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value("Old text")
    stage.answers["POST /api/tasks"] = PLAN | {"minimumCalls": 1, "estimatedTokens": 2, "id": TASK_ID}
    page.get_by_label("Instructions").fill("Sum up well.")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(f"**/#/task/{TASK_ID}")
    sent = next(body for method, path, body in stage.asked if (method, path) == ("POST", "/api/tasks"))
    kept = {"input": "Old text", "instructions": "Sum up well.", "metadata": {"name": "A name"}, "maxModelCalls": 7}
    assert sent == {name: value for name, value in asked.items() if name != "inputCharacters"} | kept


def test_a_text_is_submitted_in_one_step_with_its_plan_beside_it(stage: Stage) -> None:
    held: list[Route] = []

    def answer(route: Route) -> None:
        if "dryRun" in route.request.url and (route.request.post_data_json or {})["input"] == "Older":
            held.append(route)
            return
        route.fulfill(json=PLAN | {"minimumCalls": 4, "estimatedTokens": 2, "id": TASK_ID})

    stage.answers |= {"POST /api/tasks": answer, PATH: task()}
    page = stage.open("#/submit")
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    with page.expect_request("**/api/tasks?dryRun=true"):
        page.get_by_label("Text", exact=True).fill("Older")
    page.get_by_label("Text", exact=True).fill("The text")
    expect(page.get_by_role("button", name="Submit: 4 calls")).to_be_visible()
    expect(page.locator(".source .dim")).to_have_text("8 bytes")
    held[0].fulfill(json=PLAN | {"minimumCalls": 9, "estimatedTokens": 2})
    stage.settle()
    expect(page.get_by_role("button", name="Submit: 4 calls")).to_be_visible()
    page.get_by_text("More options").click()
    page.get_by_label("Chunk size").fill("30")
    page.get_by_label("Chunk size").press("Enter")
    stage.settle()
    assert not [path for method, path, _ in stage.asked if (method, path) == ("POST", "/api/tasks")]
    page.get_by_label("Chunk size").fill("40")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(f"**/#/task/{TASK_ID}")
    sent = [body for method, path, body in stage.asked if (method, path) == ("POST", "/api/tasks")]
    assert sent == [{"input": "The text", "reduce": "concat", "chunk": {"maxChars": 40}}]


def test_a_key_that_may_only_read_sees_no_button_that_changes_tasks(stage: Stage) -> None:
    several(stage)
    stage.answers["POST /api/tasks"] = lambda route: refuse(route, 403, "forbidden")
    stage.answers["/api/tenants"] = lambda route: refuse(route, 403, "forbidden")
    stage.answers["/api/keys"] = lambda route: refuse(route, 403, "forbidden")
    stage.answers["/v1/webhook_endpoints"] = lambda route: refuse(route, 403, "forbidden")
    delivery: dict[str, Any] = {"id": "d", "type": "task.completed", "status": "delivered", "endpoint": "e", "tries": 1}
    delivery |= {"attempts": [], "nextAttemptAt": None}
    stage.answers |= {PATH: task(), f"{PATH}/deliveries": {"deliveries": [delivery]}}
    page = stage.open("#/tasks", "oo_read")
    expect(page.locator(".list-row")).to_have_count(4)
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(3)
    assert page.get_by_role("main").get_by_role("checkbox").count() == 0
    names = page.get_by_role("main").get_by_role("button").all_inner_texts()
    assert set(names) <= {"Refresh", "More filters", "Copy the link", "Copy as curl"}
    page.goto(f"{stage.url}/#/task/{TASK_ID}")
    expect(page.get_by_text("task.completed")).to_be_visible()
    names = page.get_by_role("main").get_by_role("button").all_inner_texts()
    assert {"Cancel", "Retry", "Delete", "Run again with changes", "Send again"} & set(names) == set()
    page.goto(f"{stage.url}/#/submit")
    expect(page.get_by_text("This key may not submit tasks")).to_be_visible()
    page.goto(f"{stage.url}/#/access")
    expect(page.get_by_role("alert")).to_have_count(2)
    assert page.get_by_role("main").get_by_role("textbox").count() == 0
    stage.answers |= HEALTH
    page.goto(f"{stage.url}/#/health")
    expect(page.locator(".cards")).to_be_visible()
    names = page.get_by_role("main").get_by_role("button").all_inner_texts()
    assert names == ["Refresh"]
    assert page.get_by_role("banner").get_by_role("button").all_inner_texts() == ["Key set", "◐ Auto", "中文"]
    assert [path for method, path, _ in stage.asked if method == "POST"] == ["/api/tasks?dryRun=true"]
    assert len([path for _, path, _ in stage.asked if path.startswith("/api/tenants?tenant=")]) == 1
    assert stage.serious() == []
