"""Tests that a task's page follows the stream of events, says so, and polls if it gets no stream."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.support.browser import Watched
from tests.support.client import Client, paragraphs
from tests.support.model_server import ModelServer
from tests.support.stage import TASK_ID, Stage, chunk, refuse, task

pytestmark = pytest.mark.runtime
PATH = f"/api/tasks/{TASK_ID}"
NONE_YET = {"total": 3, "completed": 0, "failed": 0, "truncated": 0}


def running(completed: int = 0) -> dict[str, Any]:
    return task(status="processing", terminal=False, finishedAt=None, progress=NONE_YET | {"completed": completed})


def event(name: str, data: object, event_id: str = "") -> str:
    return f"event: {name}\n" + (f"id: {event_id}\n" if event_id else "") + f"data: {json.dumps(data)}\n\n"


def test_a_running_task_is_live(tab: Watched, client: Client, model: ModelServer, key: str) -> None:
    model.hold()
    held = client.submit(paragraphs(2), chunk={"maxChars": 40})["id"]
    model.wait_for_in_flight(2, 60)
    page = tab.open(f"#/task/{held}", key)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    model.release()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed")
    expect(page.locator(".fall .call.is-done")).to_have_count(2)
    expect(page.get_by_text("live", exact=True)).to_have_count(0)
    assert [asked for asked in tab.requests if asked.endswith(f"/{held}/events")]
    assert not [asked for asked in tab.requests if f"/{held}/chunks" in asked]


def test_a_stream_that_ends_early_is_opened_behind_its_last_event(stage: Stage) -> None:
    behind: list[str | None] = []
    bodies = [
        ":\n\n" + event("status", {"status": "processing"}, "0-1") + event("chunk", chunk(0), "0-4") + "retry: 1\n\n",
        event("chunk", chunk(1), "0-7") + event("progress", NONE_YET | {"completed": 2}) + "retry: 1\n\n",
    ]

    def stream(route: Route) -> None:
        behind.append(route.request.headers.get("last-event-id"))
        if len(behind) == len(bodies):
            stage.answers[PATH] = running(2)
        if len(behind) <= len(bodies):
            route.fulfill(body=bodies[len(behind) - 1], headers={"Content-Type": "text/event-stream"})

    stage.answers |= {PATH: running(), f"{PATH}/events": stream, f"{PATH}/chunks": {"chunks": [], "nextCursor": None}}
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.locator(".fall .call.is-done")).to_have_count(2)
    expect(page.get_by_text("2 of 3 chunks").first).to_be_visible()  # read again, with the numbers of the bill
    assert behind[:3] in ([None, "0-4"], [None, "0-4", "0-7"])


def test_without_a_stream_the_page_polls(stage: Stage) -> None:
    stage.answers |= {PATH: running(), f"{PATH}/events": lambda route: refuse(route, 503, "overloaded")}
    stage.answers[f"{PATH}/chunks"] = {"chunks": [chunk(0)], "nextCursor": None}
    page = stage.open(f"#/task/{TASK_ID}")
    expect(page.get_by_text("read every few seconds")).to_be_visible()
    stage.answers[PATH] = running(1)
    expect(page.locator(".fall .call.is-done")).to_have_count(1)
    stage.answers[PATH] = task()
    expect(page.get_by_text("read every few seconds")).to_have_count(0)


def test_events_are_cut_wherever_the_pieces_end(stage: Stage) -> None:
    page = stage.open("#/submit")
    text = ":\n\n" + event("chunk", {"output": "a: b\u2028"}, "0-4") + "retry: 500\n\n" + event("progress", {})
    found = page.evaluate(
        """async (text) => {
          const { cutter } = await import("/app/views/live.js");
          return [...text].map((_, at) => {
            const cut = cutter();
            return JSON.stringify([...cut(text.slice(0, at)), ...cut(text.slice(at))]);
          });
        }""",
        text,
    )
    assert set(found) == {found[0]}
    assert re.findall(r'"(?:name|id|retry)":("?[\w-]+"?)', found[0]) == ['"chunk"', '"0-4"', "500", '"progress"']
