"""Tests that the view of the health begins with what is wrong, and leads to the tasks that failed and to a retry."""

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from src.kernel.domain.codes import TaskCode
from tests.browser.test_page_plots import bucket
from tests.support.browser import HOSTILE
from tests.support.stage import HEALTH, Stage, refuse
from tests.unit.project.test_names_and_sentences import words

pytestmark = pytest.mark.runtime
NOW = "2026-11-28T12:00:00Z"
REFUSED = {"code": "model_refused", "tasks": 124}
SCHEMA = {"code": "structured_output_unsupported", "tasks": 12}
FIGURES: dict[str, Any] = {"tasks": 302, "failed": 136, "failures": [REFUSED, SCHEMA]}


def history(stage: Stage, **changed: Any) -> None:
    stage.page.clock.set_fixed_time(NOW)
    buckets = [bucket("2026-11-28T11:50:00Z", **changed)]
    stage.answers |= HEALTH
    stage.answers["/api/history"] = {"hours": 6, "bucketSeconds": 300, "boundsMs": [], "buckets": buckets}


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_the_failures_are_a_sentence_with_links(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    english = locale == "en-GB"
    took = {"count": 0, "sumMs": 0, "upTo": []}
    history(stage, completed=166, failed=136, failures=FIGURES["failures"], took=took)
    stage.answers["POST /api/tasks/retry"] = {"tasks": 124, "maximumCalls": 300, "more": False}
    page = stage.open("#/health")
    verdict = page.locator("main > .card").first
    expect(verdict).to_have_text(
        "136 of 302 tasks failed in 6 hours: 124 because the model refused (show, retry), "
        "12 because the provider does not accept the schema (show)."
        if english
        else "6 小时内 302 个任务中有 136 个失败："
        "124 个因模型拒绝（查看、重试）、12 个因模型服务不接受此 schema（查看）。",
        use_inner_text=True,
    )
    shown = verdict.get_by_role("link").first.get_attribute("href")
    assert shown == "#/tasks?status=failed&code=model_refused&after=2026-11-28T06%3A00%3A00.000Z"
    stage.judge(f"health {locale}")
    verdict.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("combobox")).to_have_value("model_refused")
    expect(dialog).to_contain_text("124 failed tasks" if english else "124 个失败的任务")
    stage.settle()
    asked = [body for method, _, body in stage.asked if method == "POST"][-1]
    assert asked["createdAfter"] == "2026-11-28T06:00:00.000Z"
    stage.close()
    assert stage.faults == []


def test_a_key_that_is_no_operator_s_sees_its_own_tenant(stage: Stage) -> None:
    stage.answers |= HEALTH
    stage.answers["/api/history"] = lambda route: refuse(route, 403, "forbidden")
    stage.answers["/api/tenants"] = {"tenants": [FIGURES | {"more": True}], "nextCursor": None}
    page = stage.open("#/health")
    expect(page.locator("main > .card").first).to_contain_text("136 of 302 tasks failed in 6 hours")
    expect(page.locator("main > .card").first).to_contain_text("Only the newest are counted.")
    expect(page.get_by_text("Only operators see")).to_be_visible()
    stage.answers["/api/tenants"] = {"tenants": [], "nextCursor": None}
    page.reload()
    expect(page.get_by_text("No task ended in 6 hours.")).to_be_visible()
    stage.answers["/api/tenants"] = lambda route: refuse(route, 403, "forbidden")
    page.reload()
    expect(page.locator(".cards")).to_be_visible()
    expect(page.get_by_text("No task ended in 6 hours.")).to_have_count(0)
    assert stage.violations() == []


def test_a_key_that_sees_no_task_is_told_that_all_is_well(stage: Stage) -> None:
    stage.answers |= HEALTH
    stage.answers["/api/history"] = lambda route: refuse(route, 403, "forbidden")
    stage.answers["/api/tenants"] = lambda route: refuse(route, 403, "forbidden")
    page = stage.open("#/health")
    expect(page.locator("main > .card").first).to_have_text("Service and model are healthy.")


def test_what_is_wrong_comes_first(stage: Stage) -> None:
    history(stage)
    trouble: dict[str, Any] = {"status": "unavailable", "since": "2026-11-28T11:40:00Z", "detail": HOSTILE}
    stage.answers["/api/ai-status"] = trouble | {
        "waiting": 9,
        "codes": [{"code": "model_timeout", "share": 0.75}, {"code": "model_misconfigured", "share": 0.25}],
    }
    service: Any = HEALTH["/api/async-status"]
    stage.answers["/api/async-status"] = service | {
        "lastSweepAt": "2026-11-28T10:00:00Z",
        "backlog": {"pending": 3, "processing": 0, "oldestPendingSeconds": 7000},
        "files": {"bucket": True, "unreachable": 0, "incomplete": 1},
    }
    page = stage.open("#/health")
    verdict = page.locator("main > .card").first
    expect(verdict.locator("p").nth(0)).to_contain_text("The model has been unavailable since 11:40:00.")
    expect(verdict.locator("q[lang='']")).to_have_text(HOSTILE)
    expect(verdict.locator("p").nth(1)).to_contain_text("9 tasks wait for the model.")
    expect(verdict.locator("p").nth(2)).to_have_text(
        "In the last 15 minutes, tasks waited or failed: 75% because the model did not answer in time, "
        "25% because the provider refused the key or the default model."
    )
    expect(verdict.locator("p").nth(3)).to_contain_text("The last sweep ran 2 hours ago. Check the cron trigger.")
    stuck = "Tasks have waited for 1h 56m, and the queue has delivered nothing. Check its consumer."
    expect(verdict.locator("p").nth(4)).to_have_text(stuck)
    expect(verdict.locator("p").nth(5)).to_have_text(
        "The bucket lacks parts of the text of 1 task. Does it belong to another database?"
    )
    expect(verdict.locator("p").nth(6)).to_have_text("None of 10 tasks failed in 6 hours.")
    assert page.locator(".cards h2").all_inner_texts() == ["Model", "Backlog", "Service"]
    stage.answers["/api/async-status"] = service | {"status": "unhealthy", "detail": "Run make deploy."}
    stage.answers["/api/ai-status"] = {"status": "healthy", "checkedAt": NOW}  # what a request without a key sees
    page.reload()
    expect(verdict.locator("p").nth(0)).to_have_text("The service is unhealthy. Run make deploy.")
    assert page.locator(".cards h2").all_inner_texts() == ["Service", "Model"]
    assert stage.violations() == []


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_an_operator_ends_the_pauses(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    english = locale == "en-GB"
    history(stage)
    service: Any = HEALTH["/api/async-status"]
    backlog = {"pending": 3, "processing": 0, "oldestPendingSeconds": 7}
    stage.answers["/api/async-status"] = service | {"lastSweepAt": NOW, "backlog": backlog}
    stage.answers["/api/ai-status"] = {"status": "unavailable", "since": NOW, "waiting": 3, "codes": []}
    probed = [{"model": HOSTILE, "answered": False}, {"model": "m", "answered": True}]
    stage.answers["POST /api/sweep"] = {"resumed": 2, "probed": probed}
    page = stage.open("#/health")
    button = page.get_by_role("button", name="Go on now" if english else "立即继续")
    button.click()
    verdict = page.locator("main > .card").first
    expect(verdict).to_contain_text(f"{HOSTILE} " + ("still fails; its tasks keep waiting." if english else "仍然失败"))
    expect(verdict).to_contain_text("m answers; its tasks go on." if english else "m 已应答，任务继续。")
    assert [body for method, path, body in stage.asked if method == "POST"] == [{"resume": True}]
    stage.judge(f"health, resumed {locale}")
    stage.answers["POST /api/sweep"] = lambda route: refuse(route, 429, "too_soon")
    button.click()
    expect(verdict.get_by_role("alert")).to_be_visible()
    stage.answers["/api/async-status"] = service  # what others see
    page.reload()
    expect(page.locator("main > .card").first).to_contain_text("3")
    expect(button).to_have_count(0)
    stage.close()
    assert stage.faults == []


def test_each_code_has_words() -> None:
    for language in ("en", "zh"):
        known = {name for name in words(language, "views") if name.startswith("why.")}
        assert known == {f"why.{code}" for code in TaskCode}
