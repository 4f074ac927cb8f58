"""Sending off a task: which route takes it, and how long a send may take."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Route
from src.kernel.run.log import Log
from src.kernel.work.dispatch import Dispatcher


class Taking:
    """A route that takes a task after `seconds` seconds."""

    def __init__(self, route: Route, seconds: float) -> None:
        self.route = route
        self.seconds = seconds
        self.taken: list[TaskKey] = []

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        await asyncio.sleep(self.seconds)
        self.taken.append(task_key)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(max_steps=10_000)  # type: ignore[abstract]
    yield made
    made.close()


@pytest.mark.parametrize(
    ("seconds", "route", "took"),
    [
        (limits.SEND_SECONDS - 0.1, Route.QUEUE, limits.SEND_SECONDS - 0.1),
        (limits.SEND_SECONDS + 0.1, Route.DURABLE_OBJECT, limits.SEND_SECONDS),
        (1e9, Route.DURABLE_OBJECT, limits.SEND_SECONDS),
    ],
)
def test_a_send_that_gives_no_answer_in_time_counts_as_failed(
    loop: Loop, seconds: float, route: Route, took: float
) -> None:
    queue, objects = Taking(Route.QUEUE, seconds), Taking(Route.DURABLE_OBJECT, 0)
    lines: list[str] = []
    dispatcher = Dispatcher([queue, objects], Meter(), Log(lines.append))
    assert loop.run_until_complete(dispatcher.dispatch(TaskKey("t:task"))) is route
    assert loop.time() == pytest.approx(took)
    assert [len(queue.taken), len(objects.taken)] == ([1, 0] if route is Route.QUEUE else [0, 1])
    failed: list[dict[str, Any]] = [json.loads(line) for line in lines if "send_failed" in line]
    assert [line["route"] for line in failed] == ([] if route is Route.QUEUE else ["queue"])


def test_when_no_route_answers_the_task_is_the_sweeps(loop: Loop) -> None:
    silent = [Taking(route, 1e9) for route in (Route.QUEUE, Route.DURABLE_OBJECT)]
    lines: list[str] = []
    dispatcher = Dispatcher(silent, Meter(), Log(lines.append))
    assert loop.run_until_complete(dispatcher.dispatch(TaskKey("t:task"))) is None
    assert loop.time() == pytest.approx(2 * limits.SEND_SECONDS)
    assert "undispatched" in lines[-1]


@pytest.mark.parametrize(("crowded", "first"), [(False, Route.QUEUE), (True, Route.DURABLE_OBJECT)])
def test_the_first_choice_is_the_route_that_is_asked_first(loop: Loop, crowded: bool, first: Route) -> None:
    dispatcher = Dispatcher([Taking(Route.QUEUE, 0), Taking(Route.DURABLE_OBJECT, 0)], Meter(), Log(lambda _line: None))
    assert dispatcher.first_choice(crowded=crowded) is first
    assert loop.run_until_complete(dispatcher.dispatch(TaskKey("t:task"), crowded=crowded)) is first
