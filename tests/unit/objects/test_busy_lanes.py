"""Until when a coordinator counts a lane as busy that answers for a part of its calls and gets new ones."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from src.kernel.calls.wire import Wire, write_held
from src.kernel.domain.ids import TaskKey
from src.kernel.run.log import Log
from src.objects.batch_coordinator import Coordinator
from tests.unit.objects.test_coordinator import NOW_MS, PATIENCE_MS, SECONDS, LanesInParts, Storage, ask, line


@pytest.fixture
def storage() -> Iterator[Storage]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        yield Storage(connection)


def send(storage: Storage, now_ms: int, *calls: Wire) -> None:
    made = Coordinator(storage, LanesInParts(), lambda: now_ms, Log(lambda _line: None))
    asyncio.run(made.infer(TaskKey("task"), 1, 2, list(calls), SECONDS))


@pytest.mark.parametrize(
    ("joins", "lane"), [(True, "task/lane-2"), (False, "task/lane-1")], ids=["with a new call", "without"]
)
def test_a_lane_with_a_new_call_stays_busy_until_the_new_calls_deadline(
    storage: Storage, *, joins: bool, lane: str
) -> None:
    held = [write_held(1, number, in_parts=True) for number in range(2)]
    send(storage, NOW_MS, line(0), line(1), line(2))
    send(storage, NOW_MS + PATIENCE_MS - 1, *held, *([line(3)] if joins else []))
    assert ask(storage, NOW_MS + PATIENCE_MS) == lane


def test_a_lane_that_was_forgotten_is_busy_again_with_its_next_call(storage: Storage) -> None:
    send(storage, NOW_MS, line(0), line(1))
    assert ask(storage, NOW_MS + PATIENCE_MS) == "task/lane-1"
    send(storage, NOW_MS, write_held(1, 0, in_parts=True), line(2))
    assert ask(storage, NOW_MS) == "task/lane-2"
