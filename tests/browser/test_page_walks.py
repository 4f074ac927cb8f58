"""A walk through the whole page by the keyboard alone, in English and in Chinese."""

import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.markdown import PLAIN
from tests.support.page_batches import BATCH_ID, OUTPUT_ID
from tests.support.page_batches import answers as batch_answers
from tests.support.stage import BEGAN, HEALTH, TASK_ID, Stage, attempt, chunk, task
from tests.unit.project.test_names_and_sentences import PARTS, words

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
OTHER = f"{TASK_ID[:-1]}b"
FAILURE = {"code": "model_timeout", "message": "没有应答", "retryable": True}
TABS_MOST = 80
# The parts of a view by their titles, in each language.
RESULT = "section:is([aria-label=Result], [aria-label=结果])"
FILES = "section:is([aria-label=Files], [aria-label=文件])"
# Words that are the same in each language: the page's name, the other language, the time zone, and names of events.
NAMES = {"onceover", "english", "utc", "url", "task", "response", "batch", "cancelled", "expired", "incomplete"}


def answers(stage: Stage) -> None:
    plan = {"chunks": [{"index": 0, "start": 0, "end": 8}], "request": task()["request"], "characters": 8}
    failed = task(id=OTHER, name="会议纪要", status="failed", error=FAILURE, metadata={"name": "会议纪要"})
    done = task(name="新的任务", metadata={"name": "新的任务"}, result={"output": PLAIN})
    statuses = ("pending", "processing", "completed", "failed", "cancelled")
    counts = dict.fromkeys(statuses, 0) | {"failed": 1, "among": 1, "all": True}
    key = {"id": "k1", "label": "钥匙", "scopes": ["read"], "createdAt": BEGAN, "expiresAt": None}
    stage.answers |= HEALTH | {
        "POST /api/tasks": plan | {"minimumCalls": 3, "estimatedTokens": 2, "id": TASK_ID},
        "/api/tasks": {"tasks": [failed], "nextCursor": None, "counts": counts},
        PATH: done,
        f"{PATH}/chunks": {"chunks": [chunk(index) for index in range(3)], "nextCursor": None},
        f"{PATH}/attempts": {"attempts": [], "counts": {}, "nextCursor": None},
        f"{PATH}/deliveries": {"deliveries": [], "nextCursor": None},
        "/api/deliveries": {"deliveries": [], "nextCursor": None},
        f"POST /api/tasks/{OTHER}/retry": failed,
        "/api/keys": {"keys": [key]},
        "/v1/webhook_endpoints": {"data": []},
    }


def tab_to(page: Page, selector: str, back: bool = False) -> None:
    for _ in range(TABS_MOST):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        found = page.evaluate(
            """(selector) => {
              const one = document.activeElement;
              const { width, height } = one.getBoundingClientRect();
              return one.matches(selector) && [width * height > 0, getComputedStyle(one).outlineStyle !== "none"];
            }""",
            selector,
        )
        if found:
            assert found == [True, True], selector
            return
    raise AssertionError(f"Tab does not reach {selector}")


class Walker:
    """A user who uses only the keyboard. `seen` has the page's whole text at each stop."""

    def __init__(self, stage: Stage, locale: str) -> None:
        self.stage = stage
        self.locale = locale
        self.page = stage.page
        self.seen: list[str] = []

    def press(self, selector: str, key: str = "Enter") -> None:
        tab_to(self.page, selector)
        self.page.keyboard.press(key)

    def stop(self, name: str) -> None:
        self.stage.settle()
        assert self.stage.violations() == [], name
        self.seen.append(self.page.locator("body").inner_text())
        self.stage.picture(f"walk {self.locale} {name}")


def submits(walker: Walker) -> None:
    page = walker.page
    walker.press("nav a[href='#/submit']")
    tab_to(page, "#input")
    page.keyboard.type("一篇短文。")
    expect(page.locator(".cut")).to_have_count(1)
    walker.stop("submit")
    walker.press("form button.primary")
    page.wait_for_url(f"**/#/task/{TASK_ID}")
    expect(page.locator(".fall-row")).to_have_count(3)


def reads(walker: Walker) -> None:
    page = walker.page
    tab_to(page, "[role=listbox]")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("region", name=re.compile("^(Chunk 1|第 1 个分片)$"))).to_be_visible()
    result = page.locator(RESULT)
    walker.press(f"{RESULT} button[aria-pressed=false]")
    expect(result.locator(".markdown h3")).to_have_text("Minutes")
    walker.stop("result")
    walker.press(f"{RESULT} .markdown")
    page.keyboard.press("PageDown")
    page.wait_for_function("document.querySelector('.markdown.tall').scrollTop >= 0")


def searches_and_retries(walker: Walker) -> None:
    page = walker.page
    tab_to(page, "nav a[href='#/tasks']", back=True)
    page.keyboard.press("Enter")
    expect(page.locator(".list-row")).to_have_count(1)
    tab_to(page, "#q")
    page.keyboard.type("纪要")
    page.wait_for_url("**q=%E7%BA%AA%E8%A6%81")
    expect(page.locator("#q")).to_be_focused()
    walker.press(".list-row input[type=checkbox]", "Space")
    expect(page.locator(".chosen")).to_be_visible()
    walker.stop("list")
    tab_to(page, ".chosen button:not(.danger, .quiet)", back=True)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    walker.stop("dialog")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(".chosen button:not(.danger, .quiet)")).to_be_focused()
    page.keyboard.press("Enter")
    walker.press("dialog button.primary")
    expect(dialog.locator("button")).to_have_count(1)
    walker.press("dialog button")
    expect(dialog).to_have_count(0)


def looks_around(walker: Walker) -> None:
    page = walker.page
    for view, shown in (("health", ".cards"), ("access", ".rows li")):
        tab_to(page, f"nav a[href='#/{view}']", back=view == "health")
        page.keyboard.press("Enter")
        expect(page.locator(shown).first).to_be_visible()
        walker.stop(view)
        tab_to(page, "a.brand", back=True)


def saves_a_batch(walker: Walker) -> None:
    page, stage = walker.page, walker.stage
    failed = attempt(4, outcome="failed", code="model_timeout", message="没有应答")
    counts = {"calls": 8, "succeeded": 7, "failed": 1, "inDoubt": 0, "out": 0, "unlisted": 0}
    stage.answers |= batch_answers("completed", 8, 7, 1, {"metadata": {"name": "每晚的批处理"}})
    stage.answers |= {
        f"{PATH}/attempts": {"attempts": [failed], "counts": counts, "nextCursor": None},
        f"/v1/files/{OUTPUT_ID}/content": lambda route: route.fulfill(body="{}"),
    }
    page.keyboard.press("Enter")  # Enter on the page's name leads to the list
    expect(page.locator(".list-row .tag")).to_be_visible()
    walker.stop("list with a batch")
    walker.press(".list-row .name a")
    expect(page.locator(f"{FILES} h2")).to_be_visible()
    walker.stop("batch")
    tab_to(page, f"{FILES} button")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == f"{BATCH_ID}_output.jsonl"
    walker.press("#main > .row button")
    expect(page.get_by_role("table").locator("tbody tr")).to_have_count(1)
    walker.stop("calls of a batch")
    tab_to(page, ".head h1 ~ .row button:not(.danger)", back=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    walker.stop("dialog of a batch")
    page.keyboard.press("Escape")
    expect(page.locator(".head h1 ~ .row button:not(.danger)")).to_be_focused()


@pytest.mark.parametrize("locale", [pytest.param("en-GB", marks=pytest.mark.campaign), "zh-CN"])
def test_the_keyboard_is_enough_from_a_text_to_a_retry(browser: Browser, locale: str) -> None:
    stage = Stage(browser, locale=locale)
    answers(stage)
    stage.open("#/tasks")
    expect(stage.page.locator(".list-row")).to_have_count(1)
    walker = Walker(stage, locale)
    submits(walker)
    reads(walker)
    searches_and_retries(walker)
    looks_around(walker)
    saves_a_batch(walker)
    assert [path for method, path, _ in stage.asked if method == "POST" and "dryRun" not in path] == [
        "/api/tasks",
        f"/api/tasks/{OTHER}/retry",
    ]
    stage.close()
    assert stage.faults == []
    if locale == "zh-CN":
        known = " ".join([*(text for part in PARTS for text in words("zh", part).values()), PLAIN, stage.url])
        known += json.dumps([one for one in stage.answers.values() if not callable(one)], ensure_ascii=False)
        latin = {word.lower() for word in re.findall(r"[A-Za-z]{3,}", " ".join(walker.seen))}
        assert not re.findall(r".*undefined.*", "\n".join(walker.seen))
        assert latin - NAMES - {word.lower() for word in re.findall(r"[A-Za-z]{3,}", known)} == set()
