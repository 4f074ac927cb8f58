"""The chunk coordinator of a long task: which lane has which group of calls, since when and until when.

The coordinator keeps its state in its own SQLite, so an evicted coordinator still knows which lanes are busy. A lane is
a further `AIProcessor`, named after the task, without storage of its own. A lane that vanishes is replaced under
another name. Outputs go back to the task's object, which alone writes to D1.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ..core import limits
from ..core.ids import TaskKey
from ..inference.wire import Wire, from_lane
from ..processing.log import Log
from .naming import lane_name
from .stubs import ObjectStorage, Processors

SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS version (number INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS out (
      lane INTEGER PRIMARY KEY, calls INTEGER NOT NULL, since INTEGER NOT NULL, deadline INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE IF NOT EXISTS lost (lane INTEGER PRIMARY KEY) STRICT",
)


class Cursor(Protocol):
    """The result of `sql.exec`."""

    def toArray(self) -> Iterable[Mapping[str, object]]:  # noqa: N802 - the platform's name
        """Return the rows."""
        ...


class ObjectSql(Protocol):
    """An object's own SQLite. It is synchronous."""

    def exec(self, query: str, *values: int) -> Cursor:
        """Run a statement."""
        ...


class LaneBook(ObjectStorage, Protocol):
    """The storage of a coordinator: its lanes, in SQLite."""

    sql: ObjectSql


class Coordinator:
    """One long task's lanes."""

    def __init__(self, storage: LaneBook, lanes: Processors, now_ms: Callable[[], int], log: Log) -> None:
        self._storage = storage
        self._lanes = lanes
        self._now_ms = now_ms
        self._log = log
        self._opened = False
        self._fence = -1  # The highest fence that has asked for anything in this life of the object.
        # The time for which this life of the object last set the alarm, if the alarm is still to come.
        self._armed_ms: int | None = None

    async def reach(self) -> None:
        """Give a sign of life."""

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """Let a free lane make the calls of a claim, each within `seconds`, and return their outcomes in order.

        Each outcome names the lane. Raises what RPC raises, or TimeoutError, when the lane was lost: it is then unknown
        whether the calls were made.
        """
        patience = seconds + limits.LANE_SLACK_SECONDS
        self._fence = max(self._fence, fence)
        self._open()
        lane = self._take(lanes, len(calls), patience)
        # If the task forgets its coordinator, the alarm cleans up.
        await self._arm()
        try:
            async with asyncio.timeout(patience):
                outcomes = await self._lanes.getByName(lane_name(task_key, lane)).infer(task_key, fence, calls)
        except Exception as error:
            self._log("lane_failed", task=task_key, lane=lane, calls=len(calls), error=type(error).__name__)
            self._give_back(lane, lost=True)
            raise
        self._give_back(lane, lost=False)
        return [from_lane(outcome, lane) for outcome in outcomes]

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        """Make the busy lanes end the calls of claims up to this one.

        A lane that does not get this notice continues.
        """
        self._open()
        await self._arm()  # the write may come after `close`, and then the rows must be cleaned up again
        rows = self._storage.sql.exec("SELECT lane FROM out").toArray()
        await asyncio.gather(*(self._abort(task_key, fence, int(str(row["lane"]))) for row in rows))

    async def _abort(self, task_key: TaskKey, fence: int, lane: int) -> None:
        try:
            async with asyncio.timeout(limits.TELL_SECONDS):
                await self._lanes.getByName(lane_name(task_key, lane)).abort(fence)
        except Exception as error:  # noqa: BLE001 - RPC raises any type, and the other lanes must still hear it
            self._log("abort_failed", task=task_key, lane=lane, error=type(error).__name__)

    async def close(self, fence: int) -> None:
        """Forget everything: the task has ended, or this claim's worker is done with it.

        A later claim may already be at work, after a retry or on another route. If a later claim is at work, its lanes
        are kept.
        """
        if fence >= self._fence:
            await self._forget()

    async def _forget(self) -> None:
        self._opened = False
        self._armed_ms = None
        await self._storage.deleteAll()

    async def alarm(self) -> None:
        """Clean up after a task that never closed this object. Stay while calls are out."""
        self._armed_ms = None
        self._open()
        latest = self._one("SELECT coalesce(max(deadline), 0) AS value FROM out")
        if latest > self._now_ms():
            # The alarm is not set for that very moment: for an isolate whose clock is behind, it would stay in the
            # future again and again.
            await self._arm()
        else:
            await self._forget()

    async def _arm(self) -> None:
        """Keep the alarm at least half of COORDINATOR_IDLE_SECONDS ahead. Each setting of the alarm writes a row."""
        now, idle_ms = self._now_ms(), round(limits.COORDINATOR_IDLE_SECONDS * 1000)
        if self._armed_ms is not None and 0 <= now - self._armed_ms <= idle_ms // 2:
            return
        self._armed_ms = now  # the other groups of a wave arrive during the await, and must see this time
        try:
            await self._storage.setAlarm(now + idle_ms)
        except BaseException:
            self._armed_ms = None
            raise

    # Each of the following methods runs without an await, so its writes commit together.

    def _open(self) -> None:
        if self._opened:
            return
        for statement in _SCHEMA:
            self._storage.sql.exec(statement)
        if self._one("SELECT coalesce(max(number), 0) AS value FROM version") != SCHEMA_VERSION:
            self._storage.sql.exec("DELETE FROM out")
            self._storage.sql.exec("DELETE FROM version")
            self._storage.sql.exec("INSERT INTO version VALUES (?)", SCHEMA_VERSION)
        self._opened = True

    def _take(self, lanes: int, calls: int, patience: float) -> int:
        """Choose the lowest lane that is neither out nor lost. A lane past its deadline counts as free."""
        now = self._now_ms()
        self._storage.sql.exec("DELETE FROM out WHERE deadline <= ?", now)
        rows = self._storage.sql.exec("SELECT lane FROM out UNION SELECT lane FROM lost").toArray()
        taken = {int(str(row["lane"])) for row in rows}
        lane = next(number for number in range(1, len(taken) + lanes + 1) if number not in taken)
        deadline = now + round(patience * 1000)
        self._storage.sql.exec("INSERT INTO out VALUES (?, ?, ?, ?)", lane, calls, now, deadline)
        return lane

    def _give_back(self, lane: int, *, lost: bool) -> None:
        if not self._opened:  # `close` came while the lane was out: rows written now would never be cleaned up
            return
        self._storage.sql.exec("DELETE FROM out WHERE lane = ?", lane)
        if lost:
            self._storage.sql.exec("INSERT INTO lost VALUES (?) ON CONFLICT DO NOTHING", lane)

    def _one(self, query: str) -> int:
        (row,) = self._storage.sql.exec(query).toArray()
        return int(str(row["value"]))
