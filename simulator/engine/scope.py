"""What the event loop knows of running code: its handles, the scope of a handle, and the gate before a scope."""

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.engine.turns import StandingClock


class Gate:
    """A gate holds events from outside back while it is closed, and keeps the events that wait.

    Behind a `strict` gate, an event and the code that waited for it run in one turn, as in JavaScript, so that no other
    code runs between them. Without a strict gate the code runs in some later turn, as in Python's own loop.

    All scopes of an isolate share one gate, so the gate also holds the isolate's own `clock`, if the isolate has one.
    """

    __slots__ = ("clock", "closed", "strict", "waiting")

    def __init__(self) -> None:
        self.closed = 0
        self.strict = False
        self.clock: StandingClock | None = None
        self.waiting: list[Handle] = []


class InvocationScope:
    """What the loop knows of an invocation: whether it is dead, its gate, and its priority for the policy PCT."""

    __slots__ = ("dead", "gate", "priority")

    def __init__(self, gate: Gate) -> None:
        self.dead = False
        self.gate = gate
        self.priority = 0.0


SCOPE: ContextVar[InvocationScope | None] = ContextVar("scope", default=None)


def _nothing() -> None:
    pass


class Handle:
    """A callback that waits to be run. `event` marks a handle that comes from outside: a timer or a binding's reply."""

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
        self.callback, self.args = _nothing, ()  # A cancelled timer stays in the loop's heap, and keeps nothing alive.

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.when_seconds
