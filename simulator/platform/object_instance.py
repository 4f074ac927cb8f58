"""Simulates one instance of a Durable Object in memory: its gates, storage operations and calls, and its end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from simulator.engine.scope import SCOPE
from simulator.platform.binding_port import IsolateGone, JsError, Pending
from simulator.platform.isolate import InvocationEnd, Isolate
from simulator.platform.object_storage import InstanceStorage

if TYPE_CHECKING:
    from simulator.platform.objects import Cell

IDLE_SECONDS_BEFORE_EVICTION = 10
REPLACED = "Durable Object storage is no longer accessible: another instance of this object has started."


class ObjectId:
    """The id of a Durable Object. `name` is None if the id was made from its text."""

    def __init__(self, class_name: str, name: str | None, text: str | None = None) -> None:
        self.name = name
        self._text = text or blake2b(f"{class_name}\0{name}".encode(), digest_size=32).hexdigest()

    def toString(self) -> str:  # noqa: N802 - the platform's name
        """Return the id's text of 64 hexadecimal digits."""
        return self._text

    def equals(self, other: "ObjectId") -> bool:
        """Whether two ids name the same object."""
        return self._text == other._text


class ObjectContext:
    """The `ctx` of an object: `id`, `storage`, `waitUntil`, `blockConcurrencyWhile`, `abort`."""

    def __init__(self, instance: "Instance") -> None:
        self.id = instance.cell.id
        self.storage = instance.storage
        self._instance = instance

    def waitUntil(self, promise: Awaitable[Any]) -> None:  # noqa: N802 - the platform's name
        """Accept a promise, without effect: an object stays in memory anyway while it has events.

        The SDK wraps the context of a Worker, but an object's context is JavaScript's own. In the simulator a Python
        future counts as a promise. With the fault `promises_alone`, a coroutine is dropped as on the platform: without
        an error, and with Python's warning that it was never awaited. Without the fault `promises_alone`, a coroutine
        is refused.
        """
        network, name = self._instance.cell.network, self._instance.isolate.name
        assert network.loop.turns is not None
        drops = network.loop.turns.has("promises_alone", name)
        if asyncio.isfuture(promise):
            return
        if not drops:
            raise TypeError("an object's waitUntil awaits promises alone")
        what = getattr(promise, "__qualname__", type(promise).__name__)
        network.never_awaited.append(f"{name}: {what}")
        network.faults.record(name, "never awaited", what)

    def blockConcurrencyWhile(  # noqa: N802 - the platform's name
        self, function: Callable[[], Awaitable[Any]]
    ) -> asyncio.Task[Any]:
        """Run `function` while calls of the object wait. If the function raises an error, the object is reset."""
        return self._instance.block(function)

    def abort(self, reason: str | None = None) -> None:
        """Kill the object's instance at once."""
        self._instance.isolate.kill()
        raise IsolateGone(reason or "aborted")


class Instance:
    """One instance of a Durable Object in memory.

    `current` is False once another instance has replaced it unnoticed.
    """

    def __init__(self, cell: "Cell", isolate: Isolate) -> None:
        self.cell = cell
        self.isolate = isolate
        self.current = True
        self.blocked = 0
        self.backlog: list[Callable[[], None]] = []
        self.busy = 0
        self.storage: InstanceStorage = InstanceStorage(cell.data, self._operate, self._touch)
        self.object: Any = None
        self._idle_since = self._busy_since = 0.0
        self._owns_writes = False
        isolate.keeps_strays = True
        isolate.gate.strict = cell.namespace.strict_gates
        isolate.before_output = self._flush_and_maybe_leave
        isolate.on_death.append(self._died)

    # -- storage ---------------------------------------------------------------------------------------

    def _touch(self) -> None:
        """Prepare a synchronous use of storage: refuse dead or replaced instances, open the implicit transaction."""
        if self.isolate.dead:
            raise IsolateGone(self.isolate.name)
        if not self.current:
            raise JsError(REPLACED)
        self._write_soon()

    def _write_soon(self) -> None:
        if not self._owns_writes:
            self._owns_writes = True
            self.cell.data.begin()
            loop = self.isolate.loop
            loop.call_soon(self._flush, context=loop.outside)

    def _flush(self) -> None:
        if self._owns_writes:
            self._owns_writes = False
            self.cell.data.commit()

    def _discard(self) -> None:
        if self._owns_writes:
            self._owns_writes = False
            self.cell.data.rollback()

    def _flush_and_maybe_leave(self) -> None:
        """Commit the pending writes before any output leaves the object, as the platform's output gate does.

        A fault can lose the pending writes, evict the object or replace it.
        """
        faults = self.cell.network.faults
        if self._owns_writes and faults.fires("write_lost_at_eviction", self.isolate.name):
            self.isolate.kill()
            return
        self._flush()
        self._maybe_leave()

    def _maybe_leave(self) -> None:
        faults = self.cell.network.faults
        if faults.fires("object_evicted", self.isolate.name):
            self.isolate.kill()
        elif self.current and faults.fires("object_zombie", self.isolate.name):
            self.replace()
            loop = self.isolate.loop
            loop.call_later(faults.between(0, 400), self.isolate.kill, context=loop.outside)

    def _operate(self, label: str, writes: bool, effect: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        isolate, faults = self.isolate, self.cell.network.faults
        loop = isolate.loop
        operation = _Operation(self)
        if isolate.dead:
            return Pending(operation.wait)
        when = faults.point(f"storage.{label}", SCOPE.get())
        if when == "before" or faults.fires("crash_before", isolate.name):
            isolate.kill()
            return Pending(operation.wait)
        loop.close_gate(isolate.gate)
        try:
            if not self.current:
                raise JsError(REPLACED)  # noqa: TRY301 - the reply is an error, at the await
            if writes:
                self._write_soon()
            operation.value = effect()
        except JsError as error:
            operation.error = error
        if when == "after" or faults.fires("crash_after", isolate.name):
            self._flush()
            isolate.kill()
            return Pending(operation.wait)
        if writes and faults.fires("write_lost_at_eviction", isolate.name):
            isolate.kill()
            return Pending(operation.wait)
        self._maybe_leave()
        loop.call_soon(operation.settle, context=loop.outside)
        return Pending(operation.wait)

    # -- life ------------------------------------------------------------------------------------------

    def block(self, function: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        """Run `function` while calls of the object wait in the backlog."""
        self.blocked += 1

        async def section() -> Any:
            try:
                result = await function()
            except Exception:
                self.isolate.kill()
                raise
            self.blocked -= 1
            if self.blocked == 0:
                backlog, self.backlog = self.backlog, []
                for start in backlog:
                    start()
            return result

        return asyncio.ensure_future(section())

    def call(self, label: str, method: str, args: tuple[Any, ...], done: Callable[[InvocationEnd], None]) -> None:
        """Call a method of the object in an invocation of its own.

        `done` is called with how the call ended, even if the instance dies.
        """
        self.busy += 1
        if self.busy == 1:
            self._busy_since = self.isolate.loop.now()

        async def invoke() -> Any:
            result = getattr(self.object, method)(*args)
            return await result if asyncio.iscoroutine(result) or asyncio.isfuture(result) else result

        def start() -> None:
            invocation = self.isolate.start(label, invoke)
            invocation.outcome.add_done_callback(
                lambda future: self._ended(future.result(), done), context=self.isolate.loop.outside
            )

        if self.blocked and not self.isolate.dead:
            self.backlog.append(start)
        else:
            start()

    def replace(self) -> None:
        """Stop being the object's instance, without notice to its code, and lose the writes that are not flushed."""
        self.current = False
        self._discard()
        if self.cell.instance is self:
            self.cell.instance = None

    def _ended(self, outcome: InvocationEnd, done: Callable[[InvocationEnd], None]) -> None:
        self.busy -= 1
        if self.busy == 0:
            self.cell.active_seconds += self.isolate.loop.now() - self._busy_since
        if not self.isolate.dead and self.current:
            self._flush()
        loop = self.isolate.loop
        if self.busy == 0 and not self.isolate.dead:
            asked = loop.now()
            self._idle_since = asked
            loop.call_later(IDLE_SECONDS_BEFORE_EVICTION, self._evict_if_idle, asked, context=loop.outside)
        done(outcome)

    def _evict_if_idle(self, asked: float) -> None:
        if self.busy == 0 and self._idle_since == asked:
            self.isolate.kill()

    def _died(self) -> None:
        self.replace()
        backlog, self.backlog = self.backlog, []
        for start in backlog:
            start()  # The isolate is dead, so the waiting call ends as "died".


class _Operation:
    """A storage operation that is under way, for which the isolate's gate is closed.

    With a strict gate, the gate opens when the code that awaits the operation continues. If no code awaits the
    operation, or if the gate is not strict, the gate opens when the operation is done.
    """

    __slots__ = ("_future", "_instance", "_open", "error", "value")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._future = instance.isolate.loop.create_future()
        self._open = False
        self.value: Any = None
        self.error: JsError | None = None

    def settle(self) -> None:
        if not self._future.done():
            awaited = bool(self._future._callbacks)
            self._future.set_result(None)
            if awaited and self._instance.isolate.gate.strict:
                return
        self._release()

    async def wait(self) -> Any:
        try:
            await self._future
        finally:
            if self._future.done():
                self._release()
        if self.error is not None:
            raise self.error
        return self.value

    def _release(self) -> None:
        if not self._open:
            self._open = True
            isolate = self._instance.isolate
            isolate.loop.open_gate(isolate.gate)
