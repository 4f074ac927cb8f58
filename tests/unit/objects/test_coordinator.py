"""How a coordinator hands out lanes, until when it counts one as busy, and how it cleans up after itself."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.calls.protocol import ModelCall
from src.kernel.calls.wire import GOES_ON, Wire, numbered, read_outcome, write_call, write_held
from src.kernel.domain import limits
from src.kernel.domain.errors import CallerLost, CallNotStarted
from src.kernel.domain.ids import TaskKey
from src.kernel.run.log import Log
from src.objects.batch_coordinator import Coordinator, ObjectSql

SECONDS = 30.0  # of each call
PATIENCE_MS = round((SECONDS + limits.LANE_SLACK_SECONDS) * 1000)
NOW_MS = 1_800_000_000_000
IDLE_MS = round(limits.COORDINATOR_IDLE_SECONDS * 1000)


class Storage:
    """An object's storage; `alarms` has the times for which alarms were set."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql: ObjectSql = self
        self.alarms: list[int] = []
        self.cleared = 0
        self._connection = connection

    def exec(self, query: str, *values: int) -> Any:
        rows = self._connection.execute(query, values).fetchall()

        class Cursor:
            def toArray(self) -> list[dict[str, object]]:  # noqa: N802 - the platform's name
                return [dict(row) for row in rows]

        return Cursor()

    async def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        self.alarms.append(at_ms)

    async def deleteAll(self) -> None:  # noqa: N802 - the platform's name
        self.cleared += 1


@pytest.fixture
def storage() -> Iterator[Storage]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        yield Storage(connection)


class AnsweringLanes:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: set[str] = set()

    def getByName(self, name: str) -> Any:  # noqa: N802 - the platform's name
        self.asked.append(name)
        return self

    async def infer(self, *_args: Any) -> Any:
        if self.asked[-1] in self.failing:
            raise ConnectionError
        return [{"output": "fine"}]


class Lanes:
    def getByName(self, name: str) -> Any:  # noqa: N802 - the platform's name
        return self

    async def infer(self, *_args: Any) -> Any:
        await asyncio.Event().wait()


def test_a_coordinator_whose_clock_is_behind_does_not_spin(storage: Storage) -> None:
    """A coordinator whose clock is behind sets its alarm far ahead, and cleans up when its calls are overdue."""
    now_ms = NOW_MS
    coordinator = Coordinator(storage, Lanes(), lambda: now_ms, Log(lambda _line: None))

    async def alarm_while_calls_are_out() -> None:
        calls = asyncio.ensure_future(coordinator.infer(TaskKey("task"), 1, 2, [{}], 30.0))
        await asyncio.sleep(0)
        await coordinator.alarm()
        calls.cancel()

    asyncio.run(alarm_while_calls_are_out())
    assert storage.alarms == [NOW_MS + IDLE_MS] * 2
    assert storage.cleared == 0
    now_ms += IDLE_MS
    asyncio.run(coordinator.alarm())
    assert storage.cleared == 1


def test_the_alarm_is_set_again_when_half_of_its_time_is_over(storage: Storage) -> None:
    now_ms = NOW_MS
    coordinator = Coordinator(storage, AnsweringLanes(), lambda: now_ms, Log(lambda _line: None))
    for moment in (0, 1, IDLE_MS // 2, IDLE_MS // 2 + 1, IDLE_MS // 2 + 2, 0):
        now_ms = NOW_MS + moment
        asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [{}], SECONDS))
    assert [at - NOW_MS - IDLE_MS for at in storage.alarms] == [0, IDLE_MS // 2 + 1, 0]
    asyncio.run(coordinator.close(1))
    # The close call has cleared the storage, and this abort writes rows again, so the alarm is set again.
    asyncio.run(coordinator.abort(TaskKey("task"), 1))
    assert len(storage.alarms) == 4


def test_an_alarm_that_could_not_be_set_is_set_by_the_next_group(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = Coordinator(storage, AnsweringLanes(), lambda: NOW_MS, Log(lambda _line: None))

    async def refuse(at_ms: int) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(storage, "setAlarm", refuse)
        with pytest.raises(OSError):  # noqa: PT011 - the test's own
            asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [{}], SECONDS))
    asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [{}], SECONDS))
    assert storage.alarms == [NOW_MS + IDLE_MS]


def test_a_lane_that_answered_is_taken_again_and_a_lost_one_is_not(storage: Storage) -> None:
    lanes = AnsweringLanes()
    coordinator = Coordinator(storage, lanes, lambda: NOW_MS, Log(lambda _line: None))

    told: list[Wire] = []

    def ask() -> None:
        told.extend(asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [{}], 30.0)))

    ask()
    ask()
    lanes.failing = {"task/lane-1"}
    with pytest.raises(ConnectionError):
        ask()
    ask()
    ask()
    assert lanes.asked == [f"task/lane-{number}" for number in (1, 1, 1, 2, 2)]
    assert told == [{"output": "fine", "lane": lane} for lane in (1, 1, 2, 2)]


class LanesOfTwoReleases(AnsweringLanes):
    """Fake lanes. The lanes in `old` have code without lines of batches. `said` is the platform's error for them."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.old = {"task/lane-1"}
        self._said = said

    async def infer_lines(self, *_args: Any) -> Any:
        """Answer, or fail as a call of a method that the object lacks."""
        if self.asked[-1] in self.old:
            raise TypeError(self._said)
        return [{"output": "fine"}]


@pytest.mark.parametrize(
    "said",
    [
        "TypeError: Method infer_lines does not exist",
        'TypeError: The RPC receiver does not implement the method "infer_lines".',
        "'AIProcessor' object has no attribute 'infer_lines'",
    ],
)
def test_a_lane_of_an_earlier_release_starts_no_call_of_a_line(storage: Storage, said: str) -> None:
    """Its code would make a paid call of empty texts, so it is never asked, and another lane takes its place."""
    lanes = LanesOfTwoReleases(said)
    coordinator = Coordinator(storage, lanes, lambda: NOW_MS, Log(lambda _line: None))
    line = write_call(ModelCall("", "", "m", body={"messages": []}))
    (outcome,) = asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [line], SECONDS))
    assert isinstance(read_outcome(outcome), CallNotStarted)
    (outcome,) = asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [line], SECONDS))
    assert outcome == {"output": "fine", "lane": 2}
    assert asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [{}], SECONDS)) == [{"output": "fine", "lane": 2}]


def line(number: int) -> Wire:
    return numbered(write_call(ModelCall("", "", "m", body={"messages": []})), number, in_parts=True)


class LanesInParts(AnsweringLanes):
    """Lanes that answer for the last call of each group, while the others go on. `methods` are those that were used."""

    def __init__(self) -> None:
        super().__init__()
        self.methods: list[str] = []
        self.is_old = False

    async def infer(self, _task_key: TaskKey, _fence: int, calls: list[Wire]) -> list[Wire]:
        self.methods.append("infer")
        return [GOES_ON] * (len(calls) - 1) + [{"output": "fine"}]

    async def infer_lines(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        if self.is_old:
            raise TypeError("Method infer_lines does not exist")
        outcomes = await self.infer(task_key, fence, calls)
        self.methods[-1] = "infer_lines"
        return outcomes


def test_lines_are_answered_in_parts_too(storage: Storage) -> None:
    """A lane that answers for a part of its lines gets the new ones beside them, and is free after the last answer."""
    lanes = LanesInParts()
    coordinator = Coordinator(storage, lanes, lambda: NOW_MS, Log(lambda _line: None))

    def ask(*calls: Wire) -> list[Wire]:
        return asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, list(calls), SECONDS))

    on, fine = {**GOES_ON, "lane": 1}, {"output": "fine", "lane": 1}
    assert ask(line(0), line(1)) == [on, fine]
    assert ask(line(2)) == [{**fine, "lane": 2}]
    assert ask(write_held(1, 0, in_parts=True), line(3)) == [on, fine]
    assert ask(write_held(1, 0, in_parts=True)) == [fine]
    assert ask(line(4)) == [fine]
    assert lanes.methods == ["infer_lines", "infer_lines", "infer_lines", "infer", "infer_lines"]


def test_a_lane_that_gets_code_of_an_earlier_release_loses_the_lines_that_went_on(storage: Storage) -> None:
    lanes = LanesInParts()
    coordinator = Coordinator(storage, lanes, lambda: NOW_MS, Log(lambda _line: None))
    asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [line(0), line(1)], SECONDS))
    lanes.is_old = True
    calls = [write_held(1, 0, in_parts=True), line(2)]
    outcomes = asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, calls, SECONDS))
    assert [type(read_outcome(outcome)) for outcome in outcomes] == [CallerLost, CallNotStarted]
    lanes.is_old = False
    assert asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [line(3)], SECONDS)) == [{"output": "fine", "lane": 2}]


def test_a_lane_that_is_lost_with_lines_is_a_lost_lane(storage: Storage) -> None:
    """Only a missing method says that no call was made."""
    coordinator = Coordinator(storage, LanesOfTwoReleases("lost"), lambda: NOW_MS, Log(lambda _line: None))
    with pytest.raises(TypeError, match="lost"):
        asyncio.run(coordinator.infer(TaskKey("task"), 1, 2, [{"body": "{}"}], SECONDS))


def ask(storage: Storage, now_ms: int) -> str:
    """Let a new instance of the coordinator, which knows only what is stored, choose a lane. Return the lane's name."""
    lanes = AnsweringLanes()
    made = Coordinator(storage, lanes, lambda: now_ms, Log(lambda _line: None))
    asyncio.run(made.infer(TaskKey("task"), 1, 2, [{}], SECONDS))
    return lanes.asked[-1]


def test_a_lane_that_was_out_at_an_eviction_is_busy_until_its_deadline(storage: Storage) -> None:
    async def evicted() -> None:
        made = Coordinator(storage, Lanes(), lambda: NOW_MS, Log(lambda _line: None))
        calls = asyncio.ensure_future(made.infer(TaskKey("task"), 1, 2, [{}], SECONDS))
        await asyncio.sleep(0)
        calls.cancel()

    asyncio.run(evicted())
    assert ask(storage, NOW_MS) == "task/lane-2"
    assert ask(storage, NOW_MS + PATIENCE_MS - 1) == "task/lane-2"
    assert ask(storage, NOW_MS + PATIENCE_MS) == "task/lane-1"


def test_a_lane_that_gives_no_answer_in_time_is_lost(storage: Storage) -> None:
    """A silent lane is given up after the calls' time, plus that of messages."""
    loop = Loop(max_steps=1_000)  # type: ignore[abstract]
    made = Coordinator(storage, Lanes(), lambda: NOW_MS, Log(lambda _line: None))
    with pytest.raises(TimeoutError):
        loop.run_until_complete(made.infer(TaskKey("task"), 1, 2, [{}], SECONDS))
    assert loop.time() == pytest.approx(PATIENCE_MS / 1000)
    loop.close()
    assert ask(storage, NOW_MS) == "task/lane-2"
    assert ask(storage, NOW_MS + 10 * PATIENCE_MS) == "task/lane-2"


def test_a_coordinator_goes_on_with_what_the_code_before_it_has_stored(storage: Storage) -> None:
    ask(storage, NOW_MS)
    storage.exec("UPDATE version SET number = 1")
    storage.exec("DELETE FROM out")
    storage.exec("INSERT INTO out VALUES (1, 6, ?, ?)", NOW_MS, NOW_MS + 60_000)
    storage.exec("INSERT INTO lost VALUES (2)")
    assert ask(storage, NOW_MS) == "task/lane-3"


@pytest.mark.parametrize(("fence", "cleared"), [(1, 0), (2, 1), (3, 1)], ids=["earlier", "same", "later"])
def test_the_goodbye_of_an_earlier_claim_leaves_a_later_one_its_lanes(
    storage: Storage, fence: int, cleared: int
) -> None:
    coordinator = Coordinator(storage, AnsweringLanes(), lambda: NOW_MS, Log(lambda _line: None))

    async def say_goodbye() -> None:
        await coordinator.reach()
        assert storage.alarms == []
        await coordinator.infer(TaskKey("task"), 2, 2, [{}], SECONDS)
        await coordinator.infer(TaskKey("task"), 1, 2, [{}], SECONDS)
        await coordinator.close(fence)

    asyncio.run(say_goodbye())
    assert storage.cleared == cleared


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
