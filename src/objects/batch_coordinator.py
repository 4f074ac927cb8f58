"""The coordinator of a long task's lanes: it gives each group of calls to a free lane, and knows which lanes are busy.

The coordinator keeps its state in the SQLite database of its Durable Object, so even after an eviction it knows which
lanes are busy. A lane is an object of the class `AIProcessor`, named after the task, and stores nothing. A lost lane is
replaced by one with another name. Only the worker that has the claim, and gets the calls' outcomes, writes to D1.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ..kernel.calls import wire
from ..kernel.calls.wire import Wire, from_lane
from ..kernel.domain import limits
from ..kernel.domain.errors import CallerLost, CallNotStarted
from ..kernel.domain.ids import TaskKey
from ..kernel.run.log import Log
from .stubs import CALLS_KNOWN, ObjectStorage, Processors, is_unknown_method, lane_name

SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS version (number INTEGER NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS out (
      lane INTEGER PRIMARY KEY, calls INTEGER NOT NULL, since INTEGER NOT NULL, deadline INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE IF NOT EXISTS lost (lane INTEGER PRIMARY KEY) STRICT",
)
# Also stores a lane whose row a coordinator with another clock has deleted.
_EXTEND = """INSERT INTO out VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET calls = excluded.calls, deadline = excluded.deadline"""


class Cursor(Protocol):
    """The result of `sql.exec`."""

    def toArray(self) -> Iterable[Mapping[str, object]]:  # noqa: N802 - the platform's name
        """Return the rows."""
        ...


class ObjectSql(Protocol):
    """The SQLite database of a Durable Object. SQL statements run synchronously."""

    def exec(self, query: str, *values: int) -> Cursor:
        """Run a statement."""
        ...


class LaneBook(ObjectStorage, Protocol):
    """The storage of a coordinator: the alarm, and in SQLite the lanes."""

    sql: ObjectSql


class Coordinator:
    """The coordinator of one long task's lanes."""

    def __init__(self, storage: LaneBook, lanes: Processors, now_ms: Callable[[], int], log: Log) -> None:
        self._storage = storage
        self._lanes = lanes
        self._now_ms = now_ms
        self._log = log
        self._opened = False
        self._fence = -1  # The highest fence of all claims that have sent calls to this instance of the object.
        # When this instance of the object last set the alarm; None if it has not set one or the alarm has fired since.
        self._armed_ms: int | None = None

    async def reach(self) -> int:
        """Return which calls the coordinator's code knows: see CALLS_KNOWN. The answer shows that it can be reached."""
        return CALLS_KNOWN

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """Let a free lane make a group of calls, each within `seconds`, and return the calls' outcomes in order.

        Each outcome names the lane. If the lane is lost, `infer` raises what RPC raises, or TimeoutError, and it is
        unknown whether the calls were made. A lane that already makes some of the calls gets the others too. One that
        answers for some of its calls stays busy. One whose code knows no lines of a batch starts no call, and another
        lane, which may have newer code, takes its place.
        """
        patience = seconds + limits.LANE_SLACK_SECONDS
        self._fence = max(self._fence, fence)
        self._open()
        lane = self._take(lanes, calls, patience)
        # If no worker of the task closes the coordinator, the coordinator's alarm cleans up.
        await self._arm()
        has_lines = any("body" in call for call in calls)
        stub = self._lanes.getByName(lane_name(task_key, lane))
        try:
            async with asyncio.timeout(patience):
                outcomes = await (stub.infer_lines if has_lines else stub.infer)(task_key, fence, calls)
        except Exception as error:
            self._log("lane_failed", task=task_key, lane=lane, calls=len(calls), error=type(error).__name__)
            self._give_back(lane, lost=True)
            if has_lines and is_unknown_method(error, "infer_lines"):
                return [_answer_of_earlier_code(call) for call in calls]
            raise
        if not any(wire.goes_on(from_lane(outcome, lane)) for outcome in outcomes):
            self._give_back(lane, lost=False)
        return [from_lane(outcome, lane) for outcome in outcomes]

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        """Ask the busy lanes to end calls of claims up to `fence`. One that is unreachable completes them."""
        self._open()
        await self._arm()  # `_open` may write rows after `close`, and the alarm must delete them
        rows = self._storage.sql.exec("SELECT lane FROM out").toArray()
        await asyncio.gather(*(self._abort(task_key, fence, int(str(row["lane"]))) for row in rows))

    async def _abort(self, task_key: TaskKey, fence: int, lane: int) -> None:
        try:
            async with asyncio.timeout(limits.TELL_SECONDS):
                await self._lanes.getByName(lane_name(task_key, lane)).abort(fence)
        except Exception as error:  # noqa: BLE001 - RPC raises any type, and the other lanes must still hear it
            self._log("abort_failed", task=task_key, lane=lane, error=type(error).__name__)

    async def close(self, fence: int) -> None:
        """Delete the storage when the claim of this fence has finished; a later claim keeps its lanes."""
        if fence >= self._fence:
            await self._forget()

    async def _forget(self) -> None:
        self._opened = False
        self._armed_ms = None
        await self._storage.deleteAll()

    async def alarm(self) -> None:
        """Delete the storage if no worker has closed the coordinator. While calls are in flight, wait."""
        self._armed_ms = None
        self._open()
        latest = self._one("SELECT coalesce(max(deadline), 0) AS value FROM out")
        if latest > self._now_ms():
            # Not for the latest deadline itself, which an isolate with a slow clock may find in the future every time.
            await self._arm()
        else:
            await self._forget()

    async def _arm(self) -> None:
        """Keep the alarm at least half of COORDINATOR_IDLE_SECONDS ahead. Setting it writes one row."""
        now, idle_ms = self._now_ms(), round(limits.COORDINATOR_IDLE_SECONDS * 1000)
        if self._armed_ms is not None and 0 <= now - self._armed_ms <= idle_ms // 2:
            return
        # set before `setAlarm` is awaited, because other groups of calls arrive by then and must see the new time
        self._armed_ms = now
        try:
            await self._storage.setAlarm(now + idle_ms)
        except BaseException:
            self._armed_ms = None
            raise

    # Each of the following methods runs without an await, so all writes of a method commit together.

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

    def _take(self, lanes: int, calls: list[Wire], patience: float) -> int:
        """Choose the lane that has some of the calls, or the lowest one neither busy, by its deadline, nor lost."""
        now = self._now_ms()
        deadline = now + round(patience * 1000)
        if (at_work := wire.lane_of(calls)) is not None:
            if not all(map(wire.is_held, calls)):
                self._storage.sql.exec(_EXTEND, at_work, len(calls), now, deadline)
            return at_work
        self._storage.sql.exec("DELETE FROM out WHERE deadline <= ?", now)
        rows = self._storage.sql.exec("SELECT lane FROM out UNION SELECT lane FROM lost").toArray()
        taken = {int(str(row["lane"])) for row in rows}
        lane = next(number for number in range(1, len(taken) + lanes + 1) if number not in taken)
        self._storage.sql.exec("INSERT INTO out VALUES (?, ?, ?, ?)", lane, len(calls), now, deadline)
        return lane

    def _give_back(self, lane: int, *, lost: bool) -> None:
        # `close` came while the lane was busy, and rows that are written now would never be deleted
        if not self._opened:
            return
        self._storage.sql.exec("DELETE FROM out WHERE lane = ?", lane)
        if lost:
            self._storage.sql.exec("INSERT INTO lost VALUES (?) ON CONFLICT DO NOTHING", lane)

    def _one(self, query: str) -> int:
        (row,) = self._storage.sql.exec(query).toArray()
        return int(str(row["value"]))


def _answer_of_earlier_code(call: Wire) -> Wire:
    """Answer for a lane whose earlier code knows no lines, and which has lost calls made before."""
    if wire.is_held(call):
        return wire.write_outcome(CallerLost("the lane that made the call now has code of an earlier release"))
    return wire.write_outcome(CallNotStarted("the lane has code of an earlier release"))
