"""Simulates the alarm of a Durable Object, which fires at least once, and is sometimes late or repeated.

An alarm handler that raises is called again after 2, 4, 8, … seconds, six times; after that the alarm is dropped. A
handler that dies with its isolate is also called again, and does not count against the six times. A handler that
returns after its instance was replaced is also called again, because its last writes may be lost. An alarm that is set
while the handler runs replaces any retry.
"""

from typing import TYPE_CHECKING, Any

from simulator.platform.binding_port import entry_failure
from simulator.platform.invocation_limits import HANDLER_SECONDS_MOST
from simulator.platform.isolate import InvocationEnd

if TYPE_CHECKING:
    from simulator.platform.objects import Cell

RETRIES_MOST = 6
FIRST_RETRY_SECONDS = 2.0
_ASK_AGAIN_SECONDS = 30.0


class Alarm:
    """The alarm of one object."""

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self._timer: Any = None
        self._due_ms: int | None = None
        self._failures = 0
        self._deaths = 0
        self.running = 0
        self.dropped = 0
        self.fired = 0  # how often the handler was called

    def is_idle(self) -> bool:
        """Whether no alarm is set and no alarm handler is running."""
        return self.running == 0 and self._timer is None and self._cell.data.alarm_ms is None

    def reschedule(self) -> None:
        """After a commit of the object's storage, set the timer to the stored alarm time."""
        due = self._cell.data.alarm_ms
        if due == self._due_ms:
            return
        self._failures = self._deaths = 0
        self._schedule(due)

    def _schedule(self, due_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due_ms = due_ms
        if due_ms is None:
            return
        cell = self._cell
        delay = max(0.0, (due_ms - cell.namespace.now_ms()) / 1000)
        if cell.network.faults.fires("alarm_late", cell.name):
            delay += cell.network.faults.between(1, 300)
        self._wait(delay)

    def _wait(self, seconds: float) -> None:
        loop = self._cell.network.loop
        self._timer = loop.call_later(seconds, self._fire, context=loop.outside)

    def _fire(self) -> None:
        cell = self._cell
        self._timer = None
        if self.running or not cell.namespace.host.has_objects():
            self._wait(_ASK_AGAIN_SECONDS if not self.running else 0.1)
            return
        due = self._due_ms
        self._due_ms = None
        if cell.data.dirty:  # An object's open transaction does not contain the firing of the alarm.
            instance = cell.instance
            assert instance is not None
            instance._flush()
        if cell.data.alarm_ms != due:
            self._schedule(cell.data.alarm_ms)
            return
        cell.data.alarm_ms = None
        if cell.network.faults.fires("alarm_dropped", cell.name):
            self.dropped += 1
            return
        self._run()

    def _run(self) -> None:
        cell = self._cell
        if cell.network.faults.fires("alarm_dead", cell.name):
            self._after(InvocationEnd("raised", error=entry_failure()))
            return
        self.running += 1
        self.fired += 1
        info = {"retryCount": self._failures + self._deaths, "isRetry": self._failures + self._deaths > 0}
        instance = cell.wake()
        handle = cell.network.loop.call_later(
            HANDLER_SECONDS_MOST, instance.isolate.kill, context=cell.network.loop.outside
        )

        def done(outcome: InvocationEnd) -> None:
            handle.cancel()
            self.running -= 1
            unsaved = outcome.kind == "returned" and not instance.current
            self._after(InvocationEnd("died") if unsaved else outcome)

        instance.call("alarm", "alarm", (info,), done)

    def _after(self, outcome: InvocationEnd) -> None:
        cell, faults = self._cell, self._cell.network.faults
        if cell.data.alarm_ms is not None:
            return  # The handler has set the alarm again, and the commit has scheduled it.
        if outcome.kind == "returned":
            self._failures = self._deaths = 0
            if faults.fires("alarm_repeated", cell.name):
                self._again(faults.between(0, 60))
            return
        if outcome.kind == "raised":
            self._failures += 1
        else:
            self._deaths += 1
        if self._failures > RETRIES_MOST:
            self._failures = self._deaths = 0
            self.dropped += 1
            faults.record(cell.name, "alarm dropped", "six retries failed")
            return
        self._again(FIRST_RETRY_SECONDS * 2.0 ** min(self._failures + self._deaths - 1, 8))

    def _again(self, seconds: float) -> None:
        cell = self._cell
        cell.data.alarm_ms = due = int(cell.namespace.now_ms() + seconds * 1000)
        self._due_ms = due
        self._wait(seconds)
