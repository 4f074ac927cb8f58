"""Tests the form of a new task with a schema and gaps: alone, and with the built-in model up to a retry of a gap."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Watched
from tests.support.client import Client, Json
from tests.support.dev_server import DevServer
from tests.support.stage import Stage

pytestmark = pytest.mark.runtime
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "opening": {"type": "string"},
        "people": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["name", "count"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["opening", "people"],
    "additionalProperties": False,
}
# The built-in model writes more than 34 tokens for the second paragraph: this output is cut off, so its chunk fails.
LONG = "Emma went to Highbury with George Knightley over the meadow."
TEXT = f"{'Emma smiled. ' * 4}\n\n{LONG}\n\n{'Jane sang. ' * 5}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Serve the project by `make dev`, with the built-in model and without keys."""
    with DevServer(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def visit(browser: Browser, demo: DevServer) -> Iterator[Watched]:
    watched = Watched(browser, demo.url)
    yield watched
    watched.close()
    assert watched.faults == []


@pytest.mark.parametrize("locale", ["en-GB", pytest.param("zh-CN", marks=pytest.mark.campaign)])
def test_what_is_wrong_is_said_at_its_field(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    english = locale == "en-GB"
    message = f"/properties/x/{'very-long-name' * 9}: pattern is not supported."
    fault = {"field": "outputSchema", "message": message, "pointer": "/properties/x"}
    problem = {"status": 422, "code": "unsupported_schema", "detail": f"outputSchema: {message}", "errors": [fault]}
    stage.answers["POST /api/tasks"] = lambda route: route.fulfill(status=422, json=problem)
    page = stage.open("#/submit")
    page.get_by_label("Text" if english else "文本", exact=True).fill("The text")
    page.get_by_text("Structured output and gaps" if english else "结构化输出与缺口").click()
    schema = page.get_by_label("Output schema, JSON" if english else "输出 schema（JSON）")
    schema.fill("{ not JSON")
    page.get_by_text("Structured output and gaps" if english else "结构化输出与缺口").click()
    expect(schema).not_to_be_visible()
    plan = page.get_by_role("button", name="Show the plan" if english else "查看计划")
    plan.click()
    expect(schema).to_be_focused()  # the part of the form for structured output has opened by itself
    expect(page.locator("#outputSchema-fault")).to_contain_text("this is not JSON." if english else "这不是 JSON。")
    expect(schema).to_have_attribute("aria-invalid", "true")
    assert not [body for method, _, body in stage.asked if method == "POST" and "outputSchema" in body]
    schema.fill('{"type": "object"}')
    page.get_by_role("checkbox", name="Strict" if english else "严格").uncheck()
    page.get_by_role("checkbox", name="Allow gaps" if english else "允许缺口").check()
    page.get_by_label("Gaps at most" if english else "缺口上限").fill("0.25")
    # When the user pauses, the page also requests a plan, perhaps before all fields are filled.
    with page.expect_response(lambda response: "maxGapShare" in (response.request.post_data or "")):
        plan.click()
    expect(page.locator("#outputSchema-fault")).to_have_text(message)
    expect(schema).to_have_accessible_description(f"{message} " + page.locator("#outputSchema-hint").inner_text())
    expect(page.get_by_role("alert")).to_have_text(f"The server answered 422. outputSchema: {message}")  # once
    shape = {"outputSchema": {"type": "object"}, "strict": False, "onChunkFailure": "gap", "maxGapShare": 0.25}
    assert stage.asked[-1][2] == {"input": "The text", "reduce": "concat"} | shape
    stage.judge(f"shape {locale}")
    stage.close()
    assert stage.faults == []


def is_read(page: Page, visit: Watched, old: Json) -> None:
    """Check that the page shows the gap, its rejected answer and its source text, and the value as tree and table."""
    row = page.get_by_role("option").nth(1)
    expect(row).to_contain_text("output_truncated")
    row.click()
    part = page.get_by_role("region", name="Chunk 2")
    expect(part.get_by_role("table", name="Faults of the rejected answer")).to_contain_text("the output was cut off")
    expect(part.get_by_role("group", name="Rejected answer")).to_contain_text('{"opening":')
    expect(part.locator(".rungs li")).to_have_count(1)
    expect(part.get_by_role("group", name="Source text")).to_contain_text("Emma went to Highbury")
    tree = page.get_by_role("tree", name="Result")
    expect(tree).to_contain_text('opening: "Emma smiled."')
    page.get_by_role("button", name="/people").click()
    rows = page.get_by_role("table", name="/people").locator("tbody tr")
    expect(rows).to_have_count(len(old["result"]["value"]["people"]))
    assert visit.serious() == []
    visit.picture("structured")


def test_from_a_schema_to_a_retry_of_its_gaps(visit: Watched, demo: DevServer) -> None:
    page = visit.open("#/submit")
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_text("More options").click()
    page.get_by_label("Chunk size").fill("65")
    page.get_by_label("Output, tokens at most").fill("34")
    page.get_by_text("Structured output and gaps").click()
    page.get_by_label("Output schema, JSON").fill(json.dumps(SCHEMA))
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_label("How fields are joined")).to_be_focused()
    expect(page.locator("#join-fault")).to_contain_text("/opening")
    assert set(visit.refused) == {422}
    page.get_by_label("How fields are joined").fill('{"/opening": "first"}')
    page.get_by_role("checkbox", name="Allow gaps").check()
    page.get_by_label("Gaps at most").fill("0.9")
    page.get_by_role("button", name="Show the plan").click()
    plan = page.get_by_role("region", name="Plan")
    expect(plan).to_contain_text("leaves a gap; gaps may have 90% of the text")
    expect(plan).to_contain_text('{"/opening":"first"}')
    expect(page.locator("#join-fault")).to_have_count(0)
    page.get_by_role("button", name="Submit: 3 calls").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 gap")
    with Client(demo.url) as client:
        old = client.task(page.url.rpartition("/")[2])
        assert [one["code"] for one in old["gaps"]] == ["output_truncated"]
    is_read(page, visit, old)
    page.get_by_role("button", name="Retry gaps").click()
    expect(page.get_by_role("dialog")).to_contain_text("At least 1 call")
    page.get_by_role("dialog").get_by_role("button", name="Retry gaps").click()
    link = page.get_by_role("link", name=old["id"][-12:])
    expect(link).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 gap")  # the model gives the same answer
    expect(page.locator(".figure", has_text="Model calls").locator("strong")).to_have_text("1")
    page.goto(f"{visit.url}/#/tasks")
    expect(page.locator(".list-row")).to_have_count(2)
    expect(page.locator(".list-row").first).to_contain_text("gaps, covers")
