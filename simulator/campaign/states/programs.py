"""The programs of the state space: a coroutine cannot be copied, so its position is the list of answers that it got.

With the same answers, a program does the same. So a position is the position before it and one event: what the program
heard then. To go on from a position, a program runs again from its start, without the database, and hears all events
again. The latest coroutines are kept, because the newest positions go on first.
"""

import asyncio
import heapq
from asyncio import BaseEventLoop, events
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.campaign.states.tables import Statements, Tables
from simulator.engine import chat
from simulator.engine.burial import bury
from simulator.platform.binding_port import CONNECTION_LOST
from simulator.platform.model import output_of
from simulator.platform.sql_values import bound
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain.errors import ModelRefused, ModelUnavailable

START_MS = 1_800_000_000_000
# What a program hears in place of an answer: the connection was lost; the model failed, or refused the call for good.
LOST, FAILED, REFUSED = -1, -2, -3
WAKE = -1  # The number of the wait that ends when a timer does.
_NEAR_SECONDS = 1.0
_KEPT_MOST = 300


class ProgramWait(NamedTuple):
    """What a program waits for: a call to the database, or to the model. Waits are numbered by program."""

    number: int
    of_model: bool
    call: int


class Heard(NamedTuple):
    """What a program hears: which wait is over, the number of its answer (LOST, FAILED), and the time."""

    wait: int
    answer: int
    now_ms: int


@dataclass(slots=True)
class Position:
    """Where a program stands. `made` and `said` are the model calls and the log of its last step alone."""

    program: int
    before: int
    event: Heard
    waits: tuple[ProgramWait, ...] = ()
    made: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    heard: frozenset[str] = frozenset()  # The outputs that the model's answers told it.
    fence: int | None = None  # The fence of its claim.
    ended: str | None = None
    wakes_ms: int | None = None  # When a timer fires, if the program waits for nothing else.
    hears_model: bool = False  # Whether it waits for the model alone.


class ProgramLoop(BaseEventLoop):
    """An event loop without a clock of its own and without sockets."""

    now = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._task)

    def _task(self, _loop: Any, coroutine: Any, **options: Any) -> Any:
        task = asyncio.Task(coroutine, loop=self, **options)
        self.tasks.append(task)
        return task

    def time(self) -> float:
        return self.now

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        pass

    def settle(self, seconds: Callable[[], float]) -> None:
        """Run what is ready, and the timers of the next `seconds`."""
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while True:
            while ready:
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()
            while timers and timers[0].cancelled():
                heapq.heappop(timers)
            if not timers or timers[0].when() > self.now + seconds():
                return
            timer = heapq.heappop(timers)
            self.now = max(self.now, timer.when())
            ready.append(timer)

    @property
    def wakes_at(self) -> float | None:
        timers = self._scheduled  # type: ignore[attr-defined]
        return timers[0].when() if timers else None

    def __del__(self) -> None:
        pass


class Stage:
    """What one run of a program sees of the world: a database and a model, whose answers come as events."""

    name = "states"
    default_model = "simulated-1"

    def __init__(self, tables: Tables, models: "Models") -> None:
        self.loop = ProgramLoop()
        self.said: list[str] = []
        self.made: list[int] = []
        self.heard: set[str] = set()
        self.fence: int | None = None
        self.futures: dict[int, tuple[ProgramWait, asyncio.Future[Any]]] = {}
        self.patience_seconds = 20.0
        self._tables = tables
        self._models = models
        self._now_ms = START_MS
        self._waits = 0
        self._replays = False
        self._main: asyncio.Task[str] | None = None

    # --- the binding of D1, and the provider ---

    def prepare(self, sql: str) -> "Prepared":
        return Prepared(sql)

    def batch(self, statements: Sequence["Prepared"]) -> asyncio.Future[Any]:
        if self._replays:  # the call's number is known
            return self._wait(False, -1)
        calls: Statements = tuple((one.sql, bound(one.values)) for one in statements)
        return self._wait(False, self._tables.call(calls))

    async def infer(self, call: ModelCall) -> ModelReply:
        asked = chat.heard(call)
        number = self._models.number(asked)
        self.made.append(number)
        await self._wait(True, number)
        output = output_of(asked)
        self.heard.add(output)
        return chat.whole(call, ModelReply(output, 1, 1, finish_reason="stop"))

    async def probe(self) -> Health:
        return Health("healthy", "")

    def _wait(self, of_model: bool, call: int) -> asyncio.Future[Any]:
        wait, future = ProgramWait(self._waits, of_model, call), self.loop.create_future()
        self._waits += 1
        self.futures[wait.number] = wait, future
        return future

    def say(self, event: str, facts: dict[str, Any]) -> None:
        """Take an event of the program's log."""
        if event == "claimed":
            self.fence = facts["fence"]

    # --- its run ---

    def replay(self, main: Coroutine[Any, Any, str], told: Sequence[Position]) -> None:
        """Run the program to the last of these positions."""
        self._replays = True
        self.begin(main, told[0].event)
        for at in told[1:]:
            self.tell(at.event)
        for wait in told[-1].waits:
            self.futures[wait.number] = wait, self.futures[wait.number][1]
        self._replays = False

    def begin(self, main: Coroutine[Any, Any, str], event: Heard) -> None:
        """Start the program."""
        self._main = self.loop.create_task(main)
        self._run(event)

    def tell(self, event: Heard) -> None:
        """Let the program hear an event, and run it until it waits again."""
        self.made, self.said = [], []
        if event.wait != WAKE:
            wait, future = self.futures.pop(event.wait)
            if event.answer == FAILED:
                future.set_exception(ModelUnavailable("the provider answered 503"))
            elif event.answer == REFUSED:
                future.set_exception(ModelRefused("the provider answered 400"))
            elif event.answer == LOST:
                future.set_exception(RuntimeError(f"D1_ERROR: {CONNECTION_LOST}"))
            elif wait.of_model:
                future.set_result(None)
            elif isinstance(answer := self._tables.answers[event.answer], str):
                future.set_exception(RuntimeError(answer))
            else:
                future.set_result(answer)
        self._run(event)

    def _run(self, event: Heard) -> None:
        # The waits that the program has slept out are added: its own clock is ahead of the database's.
        self.loop.now += (event.now_ms - self._now_ms) / 1000
        self._now_ms = event.now_ms
        events._set_running_loop(self.loop)
        try:
            # What came is handled before timers that are over: a worker may have stood still since.
            self.loop.settle(self._seconds)
        finally:
            events._set_running_loop(None)

    def _seconds(self) -> float:
        """Return how far ahead timers fire: a program sleeps out short waits; long ones take time to pass."""
        return _NEAR_SECONDS if self._pending() else self.patience_seconds

    def _pending(self) -> list[ProgramWait]:
        return [wait for wait, future in self.futures.values() if not future.done()]

    def position(self, program: int, before: int, event: Heard) -> Position:
        """Return where the program stands now."""
        assert self._main is not None
        waits, ended, at = tuple(self._pending()), None, self.loop.wakes_at
        if self._main.done():
            ended, waits = self._main.result(), ()
        wakes_ms = (
            None if waits or ended is not None or at is None else self._now_ms + round((at - self.loop.now) * 1000)
        )
        assert waits or ended is not None or wakes_ms is not None, "a program waits for nothing"
        return Position(
            program,
            before,
            event,
            waits,
            tuple(self.made),
            tuple(self.said),
            frozenset(self.heard),
            self.fence,
            ended,
            wakes_ms,
            bool(waits) and all(wait.of_model for wait in waits),
        )

    def close(self) -> None:
        """Close what is left of the program, and of what it began."""
        for task in self.loop.tasks:
            if not task.done():
                setattr(task, "_log_destroy_pending", False)  # noqa: B010 - typeshed does not know it
                bury(task.get_coro())
            elif not task.cancelled():
                task.exception()


class Prepared(NamedTuple):
    """A prepared statement of the binding."""

    sql: str
    values: tuple[Any, ...] = ()

    def bind(self, *values: Any) -> "Prepared":
        return Prepared(self.sql, values)


class Models:
    """The model calls that programs have made, by number."""

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def number(self, call: ModelCall) -> int:
        number = self._numbers.setdefault((call.system, call.user), len(self.calls))
        if number == len(self.calls):
            self.calls.append(call)
        return number


type Program = Callable[[Stage], Coroutine[Any, Any, str]]


class Positions:
    """All positions that a search has met, by number."""

    KEPT = ("positions", "models", "replays", "_next")

    def __init__(self, tables: Tables, programs: Sequence[Program]) -> None:
        self.positions: list[Position] = []
        self.models = Models()
        self.replays = 0
        self._tables = tables
        self._programs = programs
        self._next: dict[tuple[int, Heard], int] = {}
        self._kept: OrderedDict[int, Stage] = OrderedDict()

    def start(self, program: int, now_ms: int) -> int:
        """Start a program."""
        return self._gone_on(-1 - program, Heard(WAKE, LOST, now_ms))

    def go_on(self, position: int, event: Heard) -> int:
        """Return the position after an event."""
        return self._gone_on(position, event)

    def _gone_on(self, position: int, event: Heard) -> int:
        known = self._next.get((position, event))
        if known is not None:
            return known
        stage = self._kept.pop(position, None) or self._replayed(position)
        program = -1 - position if position < 0 else self.positions[position].program
        if position < 0:
            stage.begin(self._programs[program](stage), event)
        else:
            stage.tell(event)
        number = self._next[position, event] = len(self.positions)
        self.positions.append(stage.position(program, position, event))
        if self.positions[-1].ended is None:
            self._kept[number] = stage
        else:
            stage.close()
        if len(self._kept) > _KEPT_MOST:
            self._kept.popitem(last=False)[1].close()
        return number

    def _replayed(self, position: int) -> Stage:
        stage, told = Stage(self._tables, self.models), []
        while position >= 0:
            told.append(self.positions[position])
            position = self.positions[position].before
        if told:
            stage.replay(self._programs[told[0].program](stage), told[::-1])
            self.replays += 1
        return stage

    def close(self) -> None:
        """Close the coroutines that are kept."""
        while self._kept:
            self._kept.popitem()[1].close()
