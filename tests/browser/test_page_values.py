"""Tests how the page shows a value that fits a schema: as tree and table, of any size, from untrusted texts."""

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import HOSTILE
from tests.support.stage import TASK_ID, Stage, chunk, shaped

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
ITEMS = 5_000
# JavaScript cannot represent this number: it would show ...992.
LONG_NUMBER = 9_007_199_254_740_993
VALUE: dict[str, Any] = {
    "__proto__": {"polluted": True},
    HOSTILE: [HOSTILE, 1.5, None, {"a/b~c": [[]]}],
    "people": [{"name": HOSTILE, "age": 31, "known": None}, {"name": "Emma", "age": LONG_NUMBER, "extra": True}],
    "story": "A long text. " * 4_000,
}


def shown(stage: Stage, value: object, **changed: Any) -> dict[str, Any]:
    whole = shaped(value, **changed)
    chunks = [chunk(index, output='{"said":["a word"]}') for index in range(3)]
    stage.answers |= {PATH: whole, f"{PATH}/chunks": {"chunks": chunks, "nextCursor": None}}
    return whole


@pytest.mark.parametrize("locale", ["en-GB", pytest.param("zh-CN", marks=pytest.mark.campaign)])
def test_a_hostile_value_is_a_tree_and_a_table(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    shown(stage, VALUE)
    page = stage.open(f"#/task/{TASK_ID}")
    tree = page.get_by_role("tree")
    rows = tree.get_by_role("treeitem")
    expect(rows.filter(has_text="__proto__")).to_have_count(1)
    expect(rows.filter(has_text="polluted: true")).to_have_count(1)
    expect(rows.filter(has_text="alert(1)")).to_have_count(3)
    expect(rows.filter(has_text=f"age: {LONG_NUMBER}")).to_have_count(1)
    assert page.evaluate("({}).polluted") is None
    # A direction mark in a name must not change the order of what follows the name.
    row = rows.filter(has_text="4 items" if locale == "en-GB" else "4 项")
    name, behind = (row.locator(part).bounding_box() for part in (".key", ".dim"))
    assert name
    assert behind
    assert name["x"] + name["width"] <= behind["x"]
    stage.judge(f"tree {locale}")
    page.get_by_role("button", name="/people").click()
    table = page.get_by_role("table", name="/people")
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table.locator("tbody tr").nth(0)).to_contain_text("<img src=x onerror=alert(1)>")
    expect(table.locator("tbody tr").nth(1)).to_contain_text(str(LONG_NUMBER))
    assert table.locator("th").all_inner_texts()[:5] == ["#", "name", "age", "known", "extra"]
    expect(tree).to_have_count(0)
    stage.judge(f"table {locale}")
    stage.close()
    assert stage.faults == []


def test_a_tree_is_walked_by_the_keyboard(stage: Stage) -> None:
    shown(stage, VALUE)
    page = stage.open(f"#/task/{TASK_ID}")
    tree = page.get_by_role("tree", name="Result")
    expect(tree.get_by_role("treeitem").first).to_have_attribute("aria-expanded", "true")

    def active() -> str:
        return str(
            page.evaluate("document.getElementById(document.activeElement.ariaActiveDescendantElement.id).innerText")
        )

    tree.focus()
    page.keyboard.press("ArrowDown")
    assert "__proto__" in active()
    page.keyboard.press("ArrowRight")
    assert "polluted" in active()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(tree.get_by_role("treeitem").nth(1)).to_have_attribute("aria-expanded", "false")
    expect(tree).not_to_contain_text("polluted")
    page.keyboard.press("Space")
    expect(tree).to_contain_text("polluted")
    page.keyboard.press("End")
    assert "story" in active()
    short = len(active())
    page.keyboard.press("Enter")
    expect(tree.get_by_role("treeitem").last).to_have_attribute("aria-expanded", "true")
    assert short < 300
    assert 20_000 < len(active()) < 21_000
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(tree.get_by_role("treeitem")).to_have_count(1)
    assert active().endswith("4 fields")


def test_a_value_is_saved_and_copied_as_the_api_wrote_it(browser: Browser) -> None:
    stage = Stage(browser, permissions=["clipboard-read", "clipboard-write"])
    whole = shown(stage, VALUE)
    page = stage.open(f"#/task/{TASK_ID}")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as JSON").click()
    assert saved.value.suggested_filename == f"onceover-{TASK_ID}.json"
    assert saved.value.path().read_text("utf-8") == whole["result"]["output"]
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == whole["result"]["output"]
    stage.close()
    assert stage.faults == []


def test_a_large_value_does_not_fill_the_page(stage: Stage) -> None:
    rows_of = [{"name": f"Person {index}", "notes": "many words " * 50} for index in range(ITEMS)]
    shown(stage, {"people": rows_of, "fields": {f"field {index}": index for index in range(ITEMS)}})
    page = stage.open(f"#/task/{TASK_ID}")
    tree = page.get_by_role("tree", name="Result")
    rows = tree.get_by_role("treeitem")
    expect(rows).to_have_count(3)
    rows.filter(has_text="5,000 items").click()
    rows.filter(has_text="5,000 fields").click()
    expect(rows).to_have_count(3 + 2 * 101)
    rows.filter(has_text="101–200 of 5,000").first.click()
    expect(rows.filter(has_text="1–100 of 5,000")).to_have_count(1)
    expect(tree.locator(".on")).to_contain_text("100: 2 fields")
    expect(rows).to_have_count(3 + 102 + 101)
    assert page.locator("*").count() < 2_500
    page.get_by_role("button", name="/people").click()
    cells = page.get_by_role("table", name="/people").locator("tbody tr")
    expect(cells).to_have_count(50)
    page.get_by_role("button", name="Later").click()
    expect(page.get_by_text("51–100 of 5,000")).to_be_visible()
    expect(cells.first).to_contain_text("Person 50")
    assert page.locator("*").count() < 1_000


def test_quotes_show_their_places_in_the_text(stage: Stage) -> None:
    whole = shown(stage, {HOSTILE: [{"a/~": "the 1st"}, {"a/~": HOSTILE}]})
    names = HOSTILE.replace("~", "~0").replace("/", "~1")
    quotes = [{"pointer": f"/{names}/{at}/a~1~0", "start": 10 * at, "end": 10 * at + 7} for at in range(2)]
    whole["result"]["quotes"] = quotes
    page = stage.open(f"#/task/{TASK_ID}")
    table = page.get_by_role("table", name="Quotes (2)")
    expect(table.locator("tbody tr")).to_have_text(["the 1st0–7", f"{HOSTILE}10–17"])
    stage.judge("quotes")


def test_the_heading_of_many_quotes_says_how_many_are_shown(stage: Stage) -> None:
    whole = shown(stage, {"quotes": ["said"] * 501})
    whole["result"]["quotes"] = [{"pointer": f"/quotes/{at}", "start": at, "end": at + 4} for at in range(501)]
    table = stage.open(f"#/task/{TASK_ID}").get_by_role("table", name="Quotes (first 500 of 501)")
    expect(table.locator("tbody tr")).to_have_count(500)
