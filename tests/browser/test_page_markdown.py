"""Tests that the page shows outputs as Markdown if the reader chooses it."""

import pytest
from playwright.sync_api import expect

from tests.support.markdown import FORBIDDEN, PLAIN, answer_with, as_markdown
from tests.support.stage import TASK_ID, Stage, task

pytestmark = pytest.mark.runtime
LIBRARIES = ("/vendor/markdown/marked.js", "/vendor/markdown/purify.js")


def test_an_output_is_read_as_markdown(stage: Stage) -> None:
    answer_with(stage, PLAIN)
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.get_by_role("group", name="Result")).to_have_text(PLAIN)
    result = as_markdown(page)
    assert [result.locator(name).count() for name in ("h3", "h4", "strong", "em", "del", "hr", "img")] == [
        1,
        1,
        1,
        1,
        1,
        1,
        0,
    ]
    expect(result.locator("blockquote")).to_have_text("A quotation")
    expect(result.locator("ol[start='3'] > li[dir=auto]")).to_have_count(2)
    assert result.locator("ul > li").all_inner_texts() == ["☑ done", "☐ open"]
    expect(result.locator("pre")).to_have_text("<script>alert(1)</script>")
    text = result.inner_text()
    assert "code <b>" in text
    assert "R&D © 2 < 3, a*b.\nNext line." in text
    assert result.get_by_role("link").evaluate_all("(all) => all.map((one) => [one.textContent, one.href])") == [
        ["a link", "https://example.com/a?b=1&c=2"],
        ["me@example.com", "mailto:me@example.com"],
        ["https://example.com/plain", "https://example.com/plain"],
        ["A picture", "https://example.com/picture.png"],
    ]
    assert result.evaluate(FORBIDDEN) == []
    sides = "(all) => all.map((one) => getComputedStyle(one).textAlign)"
    assert result.locator("td").evaluate_all(sides) == ["center", "end"]


def test_a_long_output_is_read_by_portions(stage: Stage) -> None:
    code = "```\n" + "code\n\n" * 2_500 + "```\n\n"
    parts = [f"**part {number:04}** " + "word " * 40 for number in range(400)]
    text = "\n\n".join(parts[:60]) + f"\n\n{code}" + "\n\n".join(parts[60:])
    answer_with(stage, text)
    page = stage.open(f"#/task/{TASK_ID}")
    result = as_markdown(page)
    assert result.locator("strong").count() < 110
    page.get_by_role("button", name=f"Show all {len(text):,} characters").click()
    expect(result.locator("strong")).to_have_count(400)
    assert result.locator("strong").all_inner_texts() == [f"part {number:04}" for number in range(400)]
    expect(result.locator("pre")).to_have_count(1)
    assert result.locator("pre").inner_text().count("code") == 2_500
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)


def test_the_libraries_are_loaded_when_somebody_chooses_markdown(stage: Stage) -> None:
    answer_with(stage, "a *word*")
    stage.answers["/api/tasks"] = {"tasks": [task()], "nextCursor": None}
    page = stage.open("#/tasks")
    page.locator(".list-row a").click()
    expect(page.get_by_role("group", name="Result")).to_have_text("a *word*")
    stage.settle()
    assert not [request for request in stage.requests if "markdown" in request]
    as_markdown(page)
    assert {f"GET {name}" for name in LIBRARIES} <= set(stage.requests)
