"""Tests the plots of the last hours: their axes, the keyboard, the same values as tables, and failures by code."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from src.kernel.store.tallies import BOUNDS_MS
from tests.support.stage import HEALTH, Stage

pytestmark = pytest.mark.runtime
FIELDS = ("failed", "cancelled", "retries", "deadLetters", "inDoubt", "truncated")


def bucket(at: str, **changed: Any) -> dict[str, Any]:
    took = {"count": 1, "sumMs": 70_000, "upTo": [int(bound >= 70_000) for bound in BOUNDS_MS]}
    took |= {"p50Ms": 180_000, "p95Ms": 288_000}
    one = dict.fromkeys(FIELDS, 0) | {"at": at, "completed": 10, "modelCalls": 40, "fruitlessCalls": 4}
    one |= {"inputTokens": 900, "outputTokens": 1234, "took": took, "waited": took, "backlog": None, "failures": []}
    return one | changed


def history(stage: Stage) -> None:
    stage.page.clock.set_fixed_time("2026-11-28T12:00:00Z")
    codes = ("model_refused", "model_timeout", "worker_crashed", "dead_lettered", "invalid_output")
    by_code = [{"code": code, "tasks": tasks} for code, tasks in zip(codes, (3, 3, 2, 1, 1), strict=True)]
    failed = {"failed": 10, "completed": 0, "failures": by_code}
    buckets = [bucket("2026-11-28T11:05:00Z"), bucket("2026-11-28T11:50:00Z", **failed)]
    stage.answers |= HEALTH
    stage.answers["/api/history"] = {"hours": 1, "bucketSeconds": 300, "boundsMs": list(BOUNDS_MS), "buckets": buckets}


def test_a_plot_is_read_by_the_keyboard(stage: Stage) -> None:
    history(stage)
    page = stage.open("#/health?hours=1")
    values = {
        "Model calls": "Model calls 40, without an output 4",
        "Tokens": "in 900, out 1,234",
        "Failed tasks, by code": "model_refused 0, model_timeout 0, worker_crashed 0, other codes 0",
        "Tasks that ended": "Completed 10, Failed 0",
    }
    for title, value in values.items():
        plot = page.locator(".plot", has_text=re.compile(f"^{title}"))
        plot.get_by_role("slider").focus()
        plot.get_by_role("slider").press("Home")
        assert plot.get_by_role("slider").get_attribute("aria-valuetext") == f"11:05, {value}"
    expect(plot.locator(".plot-read")).to_contain_text("Completed 10")
    plot.get_by_role("slider").press("ArrowRight")
    expect(plot.locator(".plot-read")).to_contain_text("11:10")
    plot.get_by_role("slider").press("End")
    expect(plot.locator(".plot-read")).to_contain_text("11:50")
    assert plot.locator(".plot-scale span").all_inner_texts() == ["10", "0"]
    assert plot.locator(".plot-times span").all_inner_texts() == ["11:05", "11:30", "11:50"]
    codes = page.get_by_role("slider", name="Failed tasks, by code")
    codes.press("End")
    told = "11:50, model_refused 3, model_timeout 3, worker_crashed 2, other codes 2"
    assert codes.get_attribute("aria-valuetext") == told
    assert stage.serious() == []


@pytest.mark.parametrize("locale", ["en-GB", pytest.param("zh-CN", marks=pytest.mark.campaign)])
def test_the_plots_are_tables_as_well(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    english = locale == "en-GB"
    history(stage)
    page = stage.open("#/health?hours=1")
    page.get_by_label("As tables" if english else "以表格显示").check()
    expect(page.get_by_role("slider")).to_have_count(0)
    ended = page.get_by_role("table", name="Tasks that ended" if english else "结束的任务", exact=True).get_by_role(
        "row"
    )
    expect(ended).to_have_count(3)
    assert [cell.inner_text() for cell in ended.nth(1).get_by_role("cell").all()] == ["11:50", "0", "10"]
    codes = page.get_by_role("table", name="Failed tasks, by code" if english else "失败的任务（按代码）")
    heads = codes.get_by_role("columnheader").all_inner_texts()
    others = "other codes" if english else "其他代码"
    assert heads[1:] == ["model_refused", "model_timeout", "worker_crashed", others]
    assert codes.get_by_role("row").nth(1).get_by_role("cell").all_inner_texts() == ["11:50", "3", "3", "2", "2"]
    took = page.get_by_role("table", name="From submission to end" if english else "从提交到结束").get_by_role("row")
    expect(took.nth(1)).to_contain_text("1m 0s–1m 10s" if english else "1分钟 0秒–1分钟 10秒")
    stage.judge(f"plots as tables {locale}")
    page.get_by_label("As tables" if english else "以表格显示").uncheck()
    stage.settle()
    stage.judge(f"plots {locale}")
    stage.close()
    assert stage.faults == []


def test_a_plot_shows_only_what_there_is(stage: Stage) -> None:
    history(stage)
    page = stage.open("#/health?hours=1")
    expect(page.get_by_role("slider", name="Model calls")).to_be_visible()
    expect(page.get_by_role("slider", name="Problems")).to_have_count(0)
    expect(page.get_by_role("slider", name="Structured output")).to_have_count(0)
    counted = bucket("2026-11-28T11:50:00Z", rejected=4, reasks=3, gaps=1)
    stage.answers["/api/history"] |= {"buckets": [counted]}  # type: ignore[operator]
    page.reload()
    plot = page.get_by_role("slider", name="Structured output")
    figure = page.locator("figure", has=plot)
    expect(figure.locator(".plot-read")).to_have_text(re.compile("11:50 ?rejected 4 ?asked again 3"))
    expect(figure.locator(".plot-times span").first).to_have_text("11:25")
    problems = page.locator("figure", has=page.get_by_role("slider", name="Problems"))
    expect(problems).to_contain_text("gaps, and failed lines of batches 1")
    stage.answers["/api/history"] |= {"buckets": []}  # type: ignore[operator]
    page.reload()
    expect(page.get_by_text("Nothing happened in this time.")).to_be_visible()
    expect(page.locator(".plot")).to_have_count(0)
