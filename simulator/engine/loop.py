"""A seeded asyncio event loop under virtual time: only the seed decides the schedule.

The loop has no selector and no threads, and never really sleeps. When nothing is ready, the clock jumps to the next
timer. When several callbacks are ready, a policy (see `policies`) chooses the next one. Every choice goes into a trace,
whose digest is the same for the same seed in any process.

Handles belong to a *scope* (an invocation of a simulated isolate) through a context variable, which every task and
callback inherits. A handle of a dead scope is dropped and never run, so the `finally` blocks of an isolate that died
do not run. A handle that brings an event from outside waits while the scope's gate is closed, which imitates the input
gate of a Durable Object.
"""

import asyncio
import heapq
import warnings
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

from simulator.engine.burial import bury, keep_generators
from simulator.engine.errors import Deadlock, Livelock, StepsExceeded
from simulator.engine.policies import Policy, choose_first
from simulator.engine.scope import SCOPE, Gate, Handle
from simulator.engine.trace import Trace
from simulator.engine.turns import HANDLES_MOST, SUSPECTS, StandingClock, StandingTimer, Turns, named


class Loop(asyncio.AbstractEventLoop):
    """The event loop: `run(coroutine)` runs until the coroutine ends; `close` then ends all other coroutines."""

    def __init__(self, *, policy: Policy = choose_first, max_steps: int = 1_000_000) -> None:
        self.trace = Trace()
        self.steps = 0
        self.max_steps = max_steps
        self.unhandled: list[dict[str, Any]] = []
        self.outside = Context()  # The context of the platform's callbacks, which belong to no isolate.
        self.turns: Turns | None = None  # Decides how isolates with their own clocks take turns.
        self._choose = policy
        self._now_seconds = 0.0
        self._seq = 0
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._tasks_high = 1024
        self._generators: list[Any] = []
        self._stopping = False
        self._running = False
        self._closed = False

    # -- scheduling ------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the virtual seconds since the loop was made, the same for every caller."""
        return self._now_seconds

    def time(self) -> float:
        """Return the time as the caller sees it: by its isolate's own clock if it has one, otherwise `now`."""
        scope = SCOPE.get()
        clock = None if scope is None else scope.gate.clock
        return self._now_seconds if clock is None else clock.seconds()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        self._seq = seq = self._seq + 1
        handle = Handle(callback, args, copy_context() if context is None else context, seq, False)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self._set_timer(self._now_seconds + delay, delay, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self._set_timer(when, when - self.time(), callback, args, context)

    def _set_timer(
        self, when: float, delay: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> Handle:
        """Set a timer. The timer of an isolate with its own clock acts as JavaScript's `setTimeout` by that clock."""
        if context is None:
            context = copy_context()
        scope = context.get(SCOPE)
        clock = None if scope is None else scope.gate.clock
        if clock is None:
            return self._push(when, Handle(callback, args, context, self._next(), True))
        if (due_ms := clock.due_ms(delay)) is None:
            return self.call_soon(callback, *args, context=context)
        timer = StandingTimer(callback, args, context, self._next(), True)
        timer.due_ms = due_ms
        return self._push(due_ms / 1000, timer)

    def call_event(self, delay: float, callback: Callable[..., object], *args: Any, context: Context) -> Handle:
        """Bring an event from outside into `context` after `delay` virtual seconds: with 0 it is ready at once."""
        if delay > 0:
            return self._push(self._now_seconds + delay, Handle(callback, args, context, self._next(), True))
        handle = self.call_soon(callback, *args, context=context)
        handle.event = True
        return handle

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _push(self, when: float, handle: Handle) -> Handle:
        handle.when_seconds = when
        heapq.heappush(self._timers, (when, handle.seq, handle))
        return handle

    def close_gate(self, gate: Gate) -> None:
        """Hold back the events of every scope behind `gate` until `open_gate` was called as often as `close_gate`."""
        gate.closed += 1

    def open_gate(self, gate: Gate) -> None:
        """Undo one `close_gate`. When `open_gate` has undone the last `close_gate`, the waiting events become ready."""
        gate.closed -= 1
        if gate.closed == 0 and gate.waiting:
            self._ready.extend(gate.waiting)
            gate.waiting.clear()

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_options: Any,
    ) -> asyncio.Task[Any]:
        """Create a task as asyncio does, but keep it until it is done: collecting it would run its `finally` blocks."""
        self._seq += 1
        task = asyncio.Task(coro, loop=self, name=name or f"task-{self._seq}", context=context)
        tasks = self._tasks
        tasks.append(task)
        if len(tasks) > self._tasks_high:
            tasks[:] = [kept for kept in tasks if not kept.done()]
            self._tasks_high = max(1024, 2 * len(tasks))
        return task

    # -- running ---------------------------------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` (a coroutine or future) is done, and return its result.

        Raises the coroutine's own error, `Deadlock`, `StepsExceeded`, or the error of a platform callback. An exception
        of a plain callback stops the run where it happened.
        """
        previous = events._get_running_loop()
        assert previous is None, "a loop runs already"
        asyncgen_hooks = keep_generators(self._generators)
        events._set_running_loop(self)
        self._running, self._stopping = True, False
        try:
            main = self.create_task(future, name="main") if asyncio.iscoroutine(future) else future
            main.add_done_callback(self._stop, context=self.outside)
            self._run_steps()
        finally:
            self._running = False
            events._set_running_loop(None)
            asyncgen_hooks()
        return main.result()

    run = run_until_complete

    def _stop(self, _future: object) -> None:
        self._stopping = True

    def _run_steps(self) -> None:
        ready, choose, scope_var = self._ready, self._choose, SCOPE
        record = self.trace.steps.append
        while not self._stopping:
            count = len(ready)
            if count == 0:
                self._advance()
                continue
            handle = ready.pop(choose(ready) if count > 1 else 0)
            if handle.cancelled_:
                continue
            context = handle.context
            scope = context.get(scope_var)
            if scope is not None:
                if scope.dead:
                    continue
                if handle.event and scope.gate.closed:
                    scope.gate.waiting.append(handle)
                    continue
                if scope.gate.clock is not None:
                    self._run_turn(handle, scope.gate, scope.gate.clock)
                    continue
            self._count(1)
            record(handle.seq)
            context.run(handle.callback, *handle.args)
            if scope is not None and handle.event and scope.gate.strict and len(ready) >= count:
                self._run_continuation(count - 1)

    def _run_turn(self, first: Handle, gate: Gate, clock: StandingClock) -> None:
        """Run a handle of an isolate whose clock stands still, then all its microtasks, before anything else."""
        turns, scope_var, record = self.turns, SCOPE, self.trace.steps.append
        assert turns is not None
        clock.begin_turn(first, self._now_seconds)
        others, fresh, own, ran = self._ready, list[Handle](), [first], list[Handle]()
        self._ready = fresh
        try:
            while own:
                handle = own.pop(turns.choose(len(own)) if len(own) > 1 else 0)
                owner = handle.context[scope_var]
                if handle.cancelled_ or owner is None or owner.dead:
                    continue
                ran.append(handle)
                if len(ran) > HANDLES_MOST:
                    raise Livelock(f"a turn has not ended after {HANDLES_MOST} handles: {named(ran[-SUSPECTS:])}")
                record(handle.seq)
                handle.context.run(handle.callback, *handle.args)
                for made in fresh:
                    scope = made.context.get(scope_var)
                    (own if scope is not None and scope.gate is gate and not made.event else others).append(made)
                fresh.clear()
        finally:
            self._ready = others
        self._count(len(ran))

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > self.max_steps:
            raise StepsExceeded(f"{self.max_steps} steps by {self._now_seconds:.3f} s: {self._pending()}")

    def _run_continuation(self, start: int) -> None:
        """Run the handles that an event made ready: an event and the code that waited for it share one turn."""
        ready = self._ready
        handles = ready[start:]
        del ready[start:]
        for handle in handles:
            scope = handle.context.get(SCOPE)
            if handle.event:  # A gate held back the handle's event, so the handle gets a turn of its own.
                ready.append(handle)
            elif not handle.cancelled_ and not (scope is not None and scope.dead):
                self._count(1)
                self.trace.steps.append(handle.seq)
                handle.context.run(handle.callback, *handle.args)

    def _advance(self) -> None:
        """Move the clock to the next timer. All timers of the same moment become ready together."""
        timers = self._timers
        while timers and timers[0][2].cancelled_:
            heapq.heappop(timers)
        if not timers:
            raise Deadlock(f"nothing ready and no timer at {self._now_seconds:.3f} s: {self._pending()}")
        when = timers[0][0]
        self._now_seconds = max(self._now_seconds, when)
        while timers and timers[0][0] <= when:
            self._ready.append(heapq.heappop(timers)[2])
        self.trace.advance(self._now_seconds)

    def _pending(self) -> str:
        names = [task.get_name() for task in self._tasks if not task.done()]
        return f"{len(names)} tasks waiting: {', '.join(names[:20])}"

    def close(self) -> None:
        """Close all remaining coroutines, oldest first. Bindings refuse the requests of coroutines in `close`."""
        if self._closed:
            return
        assert not self._running, "close a loop after it has run"
        self._closed = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in self._tasks:
                if not task.done():
                    setattr(task, "_log_destroy_pending", False)  # noqa: B010 - typeshed does not know it
                    bury(task.get_coro())
            self._tasks.clear()
            self._ready.clear()
            self._timers.clear()
            self._generators.clear()

    # -- the interface that asyncio expects of a loop --------------------------------------------------

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Add to `unhandled` what asyncio reports, for example a task's exception that no code retrieved."""
        self.unhandled.append(context)

    async def shutdown_asyncgens(self) -> None:
        """Do nothing, because `close` drops all async generators."""
