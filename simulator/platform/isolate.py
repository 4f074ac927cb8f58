"""Simulates isolates, which run invocations; when an isolate dies, all its state is lost.

The coroutines of a dead isolate are never resumed, so none of their `except` and `finally` blocks runs. When the
coroutines are closed at the end of the run, the dead isolate's port refuses all calls. If only one invocation of an
isolate is killed, only the coroutines of this invocation are never resumed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from simulator.engine.loop import Loop
from simulator.engine.scope import SCOPE, Gate, InvocationScope
from simulator.engine.turns import StandingClock
from simulator.platform.invocation_limits import Use


@dataclass(frozen=True, slots=True)
class InvocationEnd:
    """How an invocation ended: `value` is set if the handler returned, `error` if it raised."""

    kind: Literal["returned", "raised", "died"]
    value: Any = None
    error: BaseException | None = None


class SimulatedInvocation(InvocationScope):
    """One call of a handler in an isolate, together with the work that the handler gave to `waitUntil`."""

    __slots__ = ("all_ended", "calls", "context", "isolate", "label", "outcome", "task", "use", "waiting")

    def __init__(self, isolate: "Isolate", label: str) -> None:
        super().__init__(isolate.gate)
        self.isolate = isolate
        self.label = label
        self.context = Context()
        self.context.run(SCOPE.set, self)
        self.outcome: asyncio.Future[InvocationEnd] = isolate.loop.create_future()
        # Resolves when the handler's work in `waitUntil` has ended, too.
        self.all_ended: asyncio.Future[None] = isolate.loop.create_future()
        self.waiting: list[asyncio.Task[Any]] = []
        self.task: asyncio.Task[Any] | None = None
        self.calls = 0
        self.use = Use()

    def kill(self) -> None:
        """Stop the invocation for good, together with the work that its handler gave to `waitUntil`."""
        self.dead = True
        self._resolve(InvocationEnd("died"))
        self.isolate.forget(self)

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Keep the invocation alive until `awaitable` is done, as `ctx.waitUntil` does."""
        if self.dead:
            return
        task = asyncio.ensure_future(awaitable, loop=self.isolate.loop)
        self.waiting.append(task)
        task.add_done_callback(self._waited, context=self.isolate.loop.outside)

    def ended(self) -> bool:
        """Whether the handler and all work that it gave to `waitUntil` have ended, or the invocation is dead."""
        return self.dead or (self.outcome.done() and all(task.done() for task in self.waiting))

    def _begin(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        loop, name = self.isolate.loop, f"{self.isolate.name}:{self.label}"
        self.task = loop.create_task(_call(function, args), name=name, context=self.context)
        self.task.add_done_callback(self._done, context=loop.outside)

    def _waited(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # The platform only logs the error of work in `waitUntil`.
        self._settle()

    def _done(self, task: asyncio.Task[Any]) -> None:
        if self.dead:
            return
        if task.cancelled():
            self._resolve(InvocationEnd("raised", error=asyncio.CancelledError()))
        elif (error := task.exception()) is not None:
            self._resolve(InvocationEnd("raised", error=error))
        else:
            self._resolve(InvocationEnd("returned", task.result()))
        self._settle()

    def _resolve(self, outcome: InvocationEnd) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def _settle(self) -> None:
        if self.ended():
            self.isolate.forget(self)


class Held(Protocol):
    """Memory outside of Python's, which an invocation holds."""

    owner: SimulatedInvocation | None

    def __len__(self) -> int:
        """Return how many bytes are held."""
        ...


class Isolate:
    """An isolate: a process that runs the Worker's code. `skew_ms` is by how much the isolate's wall clock is wrong.

    An isolate without its own `clock` uses the world's clock. An asyncio task that no code awaits stops when its
    invocation has ended, as on the platform. In an object (`keeps_strays`) such an asyncio task runs on for as long as
    the object is in memory.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        *,
        epoch_ms: int = 0,
        skew_ms: float = 0.0,
        clock: StandingClock | None = None,
    ) -> None:
        self.loop = loop
        self.name = name
        self.gate = Gate()
        self.gate.clock = clock
        self.dead = False
        self.keeps_strays = False
        self.invocations: dict[SimulatedInvocation, None] = {}
        self._ended: list[SimulatedInvocation] = []
        self.on_death: list[Callable[[], None]] = []
        self.before_output: Callable[[], None] | None = None  # Called before a call leaves: an object's output gate.
        self.buffers: list[Held] = []
        self.memory_bytes: int | None = None  # What the buffers may have together; None for any number.
        self.is_out_of_memory = False
        self.skew_ms = skew_ms
        self._epoch_ms = epoch_ms
        self._born_seconds = loop.now()

    def start(self, label: str, function: Callable[..., Awaitable[Any]], *args: Any) -> SimulatedInvocation:
        """Call a handler in a new invocation. The invocation's `outcome` resolves even if the isolate dies."""
        invocation = SimulatedInvocation(self, label)
        if self.dead:
            invocation.kill()
            return invocation
        self.invocations[invocation] = None
        self.loop.call_event(0, invocation._begin, function, args, context=invocation.context)
        return invocation

    def forget(self, invocation: SimulatedInvocation) -> None:
        """Remove an invocation that has ended.

        The asyncio tasks that the invocation left behind stop, except in an object.
        """
        self.invocations.pop(invocation, None)
        if not invocation.all_ended.done():
            invocation.all_ended.set_result(None)
        if self.keeps_strays and not invocation.dead:
            self._ended.append(invocation)
        else:
            invocation.dead = True

    def kill(self) -> None:
        """Kill the isolate, so that its memory is lost and none of its coroutines is ever resumed."""
        if self.dead:
            return
        self.dead = True
        for invocation in [*self.invocations, *self._ended]:
            invocation.kill()
        self._ended.clear()
        for tell in self.on_death:
            tell()

    def check_memory(self) -> None:
        """Kill the isolate if its buffers have more than it may hold: all of its invocations die at once.

        The buffers of invocations that have ended are garbage, and count no more.
        """
        self.buffers = [one for one in self.buffers if one.owner is None or not one.owner.ended()]
        if self.memory_bytes is not None and sum(map(len, self.buffers)) > self.memory_bytes:
            self.is_out_of_memory = True
            self.kill()

    def freeze(self, seconds: float) -> None:
        """Let the isolate stand still: no event reaches it for this many seconds.

        After that time the isolate continues as if nothing had happened.
        """
        self.loop.close_gate(self.gate)
        self.loop.call_later(seconds, self.loop.open_gate, self.gate, context=self.loop.outside)

    def now_ms(self) -> int:
        """Return the isolate's wall clock in milliseconds, as Python's `time.time()` shows it."""
        if self.gate.clock is not None:
            return self.gate.clock.date_ms(self.skew_ms)
        return int(self._epoch_ms + self.loop.now() * 1000 + self.skew_ms)

    def behind_seconds(self) -> float:
        """Return by how many seconds the isolate's steady clock lags, as it does in the turn of a late timer."""
        clock = self.gate.clock
        return 0.0 if clock is None else max(0.0, self.loop.now() - clock.ms / 1000)

    def monotonic(self) -> float:
        """Return the seconds since the isolate was made, by a clock that never jumps."""
        return self.loop.now() - self._born_seconds


async def _call(function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> Any:
    return await function(*args)
