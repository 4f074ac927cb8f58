"""What the page shows is so: calls of an ended task, times, what a key may still do, and figures under the cursor."""

import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from src.core.tallies import BOUNDS_MS
from tests.support.stage import BEGAN, ENDED, HEALTH, TASK_ID, Stage, chunk, refuse, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
NO_TASKS: dict[str, Any] = {"tasks": [], "nextCursor": None}
STEP_SECONDS = 300


def test_a_cancelled_task_s_calls_are_followed_until_they_are_settled(stage: Stage) -> None:
    """A call that was out when its task was cancelled is drawn, first as out and then as in doubt."""
    answers: list[dict[str, Any]] = [
        {"out": [{"level": 0, "index": 1}], "inDoubt": []},
        {"out": [], "inDoubt": [{"level": 0, "index": 1}]},
    ]
    progress = {"total": 3, "completed": 1, "failed": 0, "truncated": 0}

    def answer(route: Route) -> None:
        calls = answers[0] if len(answers) == 1 else answers.pop(0)
        route.fulfill(json=task(status="cancelled", progress=progress, calls={"announcedAt": BEGAN} | calls))

    stage.answers |= {PATH: answer, f"{PATH}/chunks": {"chunks": [chunk(0)], "nextCursor": None}}
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.locator(".fall .call.is-doubt")).to_have_count(1)
    box = page.locator(".fall .call.is-doubt").bounding_box()
    assert box is not None
    assert box["width"] > 20  # from its announcement to the end, not a mark
    asked = len(stage.asked)
    page.clock.install()
    page.clock.run_for(60_000)
    assert len(stage.asked) == asked  # and the page asks no more


def test_calls_that_a_lane_timed_together_show_at_most_that_time(stage: Stage) -> None:
    """Chunks with the lane and the times of others do not claim the time of the group as their own. One alone does."""
    laned = [chunk(index, lane=2) for index in range(2)]
    alone = chunk(2, lane=3, finishedAt="2026-11-28T10:00:02.000Z")
    stage.answers |= {PATH: task(), f"{PATH}/chunks": {"chunks": [*laned, alone], "nextCursor": None}}
    page = stage.open(f"#/task/{TASK_ID}")
    rows = page.get_by_role("option")
    expect(rows.nth(0).locator(".fall-note")).to_contain_text("≤ 10s")
    expect(rows.nth(1)).to_have_accessible_name(re.compile("at most 10s: timed as one with the 2 calls of its group"))
    expect(rows.nth(2).locator(".fall-note")).to_have_text(re.compile("^2s"))


@pytest.mark.parametrize("status", [403, 401])
def test_a_refused_list_does_not_claim_to_be_reading(stage: Stage, status: int) -> None:
    """A list that was refused says so, beside the reason. A refused key is no longer called set."""
    code = {401: "unauthenticated", 403: "forbidden"}[status]
    stage.answers["/api/tasks"] = lambda route: refuse(route, status, code)
    page = stage.open("#/tasks", "oo_old")
    expect(page.get_by_text("could not be read")).to_be_visible()
    expect(page.get_by_text("Reading …")).to_have_count(0)
    if status == 401:
        page.get_by_role("button", name="Back").click()
        expect(page.get_by_role("button", name="Key refused")).to_be_visible()
        page.get_by_role("button", name="Key refused").click()
        stage.answers["/api/tasks"] = NO_TASKS
        page.get_by_role("dialog").get_by_role("textbox").fill("oo_new")
        page.get_by_role("button", name="Use this key").click()
        expect(page.get_by_role("button", name="Key set")).to_be_visible()


def test_the_list_behind_a_dialog_shows_what_the_dialog_did(stage: Stage) -> None:
    """Tasks that a bulk change has cancelled are cancelled in the list before its dialog is closed."""
    quiet = task(status="pending", terminal=False, finishedAt=None)
    stage.answers["/api/tasks"] = {"tasks": [quiet], "nextCursor": None}

    def cancel(route: Route) -> None:
        if (route.request.post_data_json or {}).get("dryRun"):
            route.fulfill(json={"tasks": 1, "more": False})
            return
        stage.answers["/api/tasks"] = {"tasks": [task(status="cancelled")], "nextCursor": None}
        route.fulfill(json={"cancelled": 1, "more": False})

    stage.answers["POST /api/tasks/cancel"] = cancel
    stage.page.clock.install(time="2026-11-28T12:00:00Z")
    page = stage.open("#/tasks")
    expect(page.locator(".list-row .chip")).to_have_text("Pending")
    page.clock.pause_at("2026-11-28T12:01:00Z")
    for name in ("Cancel many", "Cancel 1 task"):
        page.get_by_role("button", name=name).click()
        for _ in range(5):  # less time than the list's own timer takes
            page.clock.run_for(100)
            stage.settle()
    expect(page.get_by_role("dialog")).to_contain_text("1 task cancelled.")
    expect(page.locator(".list-row .chip")).to_have_text("Cancelled")
    expect(page.get_by_role("dialog")).to_be_visible()


def history(at: str, took: list[int]) -> dict[str, Any]:
    """One hour whose buckets have backlogs 0, 1, 2 and so on. Tasks with these times ended in the first one."""
    upto = [sum(one <= bound for one in took) for bound in BOUNDS_MS]
    duration = {"count": len(took), "sumMs": sum(took), "upTo": upto, "p50Ms": 102_000, "p95Ms": 192_000}
    names = ("failed", "cancelled", "retries", "deadLetters", "modelCalls", "inDoubt", "inputTokens", "outputTokens")
    counts = dict.fromkeys(names, 0) | {"at": at, "completed": len(took), "took": duration, "waited": duration}
    backlog = {"pending": 7, "processing": 0, "oldestPendingSeconds": None}
    return {
        "hours": 1,
        "bucketSeconds": STEP_SECONDS,
        "until": at,
        "boundsMs": list(BOUNDS_MS),
        "buckets": [counts | {"backlog": backlog}],
    }


def test_no_quantile_lies_above_every_task_s_time(stage: Stage) -> None:
    """The range of p95 ends at the time of the one task, though the API's estimate lies above it."""
    page = stage.open("#/submit")
    cases = [
        ([70_000], [60_000, 70_000]),
        ([70_000, 80_000], [60_000, 90_000]),
        ([400] * 19 + [70_000], [0, 500]),
        ([400] * 18 + [70_000] * 2, [60_000, 73_600]),  # others took 400 ms each, which the counts do not say
        ([9_000_000], [7_200_000, 9_000_000]),
        ([], None),
    ]
    for took, range_ in cases:
        duration = history(ENDED, took)["buckets"][0]["took"]
        found = page.evaluate(
            "([took, bounds]) => import('/app/views/history.js').then(({ rangeOf }) => rangeOf(took, bounds, 0.95))",
            [duration, list(BOUNDS_MS)],
        )
        assert found == range_, took


def test_the_cursor_of_a_plot_reads_the_value_beneath_it(stage: Stage) -> None:
    """Near the left edge the first value is read, at the place where it is drawn, and beside it the next."""
    stage.answers |= HEALTH
    page = stage.page
    page.clock.set_fixed_time("2026-11-28T12:00:00Z")
    stage.answers["/api/history"] = history("2026-11-28T11:10:00Z", [70_000])
    stage.open("#/health?hours=1")
    plot = page.locator(".plot", has_text="Backlog")
    box = plot.locator("svg").bounding_box()
    assert box is not None
    inside, drawn = box["width"] * 588 / 600, box["width"] * 6 / 600
    for step, value in ((0, "–"), (1, "7"), (2, "–")):  # of the 12 values from 11:05 on
        for aside in (-0.45, 0, 0.45):
            page.mouse.move(box["x"] + drawn + inside * max(0, step + aside) / 11, box["y"] + 20)
            expect(plot.locator(".plot-read")).to_contain_text(f"Pending {value}")
