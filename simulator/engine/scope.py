"""The loop's knowledge of running code: handles, the scope that they belong to, and the gate before it."""

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.engine.turns import StandingClock


class Gate:
    """Counts reasons to hold events back, and keeps the events that wait for it to open.

    Behind a `strict` gate, an event and the code that waited for it run in one turn, as in JavaScript, so that no other
    code runs between them. Without a strict gate the code runs in some later turn, as in Python's own loop.

    All scopes of an isolate share one gate. So the gate is also the place of the isolate's `clock`, if the isolate has
    one of its own.
    """

    __slots__ = ("clock", "closed", "strict", "waiting")

    def __init__(self) -> None:
        self.closed = 0
        self.strict = False
        self.clock: StandingClock | None = None
        self.waiting: list[Handle] = []


class InvocationScope:
    """The loop's knowledge of an invocation: whether the invocation is dead, and the gate before it."""

    __slots__ = ("dead", "gate", "priority")

    def __init__(self, gate: Gate) -> None:
        self.dead = False
        self.gate = gate
        self.priority = 0.0


SCOPE: ContextVar[InvocationScope | None] = ContextVar("scope", default=None)


class Handle:
    """A callback waiting for its turn. `event` marks handles that come from outside: timers and binding replies."""

    __slots__ = ("args", "callback", "cancelled_", "context", "event", "seq", "when_seconds")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, seq: int, event: bool
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.seq = seq
        self.event = event
        self.when_seconds = 0.0
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True
        self.args = ()

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.when_seconds
