"""Pyodide's event loop with onceover's timers, imitated by CPython's loop over JavaScript's timers."""

import asyncio
import contextvars
import itertools
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from src.kernel.run.log import Log
from src.platform.event_loop import EVENT_LOOP, Adaptation

HOUR = 3600.0


class Function:
    """A Python function that JavaScript may call once."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.call = function
        self.held = True

    def destroy(self) -> None:
        assert self.held, "destroyed twice, or after it was called"
        self.held = False


class Browser:
    """JavaScript's timers, and the Python functions to which they hold references."""

    def __init__(self) -> None:
        self.timers: dict[int, tuple[asyncio.TimerHandle, Function, int]] = {}
        self.functions: list[Function] = []
        self._numbers = itertools.count(1)

    def create_once_callable(self, function: Callable[[], object]) -> Function:
        self.functions.append(Function(function))
        return self.functions[-1]

    def set_timeout(self, function: Function, milliseconds: int) -> int:
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WebLoop)
        # JavaScript calls Python functions in an empty context.
        context = contextvars.Context()
        handle = WebLoop.call_later(loop, milliseconds / 1000, self.fire, number, context=context)
        self.timers[number] = handle, function, milliseconds
        return number

    def fire(self, number: int) -> None:
        handle, function, _ = self.timers.pop(number)
        handle.cancel()
        function.destroy()
        function.call()

    def clear_timeout(self, number: int) -> None:
        self.timers.pop(number)[0].cancel()

    def held(self) -> int:
        return sum(function.held for function in self.functions)


class WebLoop(asyncio.SelectorEventLoop):
    """Stands in for Pyodide's event loop. Each test gets its own subclass, which the Worker's code may change."""

    counted = 0  # The futures and tasks that have ended, each by a callback.

    def create_future(self) -> asyncio.Future[Any]:
        future = super().create_future()
        future.add_done_callback(self.count)
        return future

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        task.add_done_callback(self.count)
        return task

    def count(self, _ended: object) -> None:
        self.counted += 1

    def call_later[*Args](
        self,
        delay: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if delay == 0:  # Pyodide's loop uses no timer for 0 either, and its `call_soon` uses this method
            return super().call_soon(callback, *args, context=context)  # type: ignore[return-value]
        return super().call_at(self.time() + delay, callback, *args, context=context)

    def call_at[*Args](
        self, when: float, callback: Callable[[*Args], object], *args: *Args, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Browser:
    made = Browser()
    members: dict[str, dict[str, Any]] = {
        "js": {"setTimeout": made.set_timeout, "clearTimeout": made.clear_timeout},
        "pyodide.ffi": {"create_once_callable": made.create_once_callable},
        "pyodide.webloop": {
            "WebLoop": type("WebLoop", (WebLoop,), {}),
            "PyodideFuture": asyncio.Future,
            "PyodideTask": asyncio.Task,
        },
    }
    modules = {name: ModuleType(name) for name in ("pyodide", *members)}
    for name, module in modules.items():
        vars(module).update(members.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    vars(modules["pyodide"]).update(ffi=modules["pyodide.ffi"], webloop=modules["pyodide.webloop"])
    return made


@pytest.fixture
def browser(interpreter: Browser) -> Browser:
    Adaptation().adapt()
    return interpreter


def run(scenario: Callable[[], Any]) -> Any:
    with asyncio.Runner(loop_factory=sys.modules["pyodide.webloop"].WebLoop) as runner:
        return runner.run(scenario())


def test_a_deadline_that_is_met_leaves_no_timer(browser: Browser):
    async def scenario() -> None:
        async with asyncio.timeout(HOUR):
            await asyncio.sleep(0)
            assert [timer[2] for timer in browser.timers.values()] == [pytest.approx(HOUR * 1000, abs=100)]
        await asyncio.wait_for(asyncio.sleep(0), HOUR)
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))], timeout=HOUR)
        sleeping = asyncio.ensure_future(asyncio.sleep(HOUR))
        await asyncio.sleep(0)
        assert len(browser.timers) == 1
        sleeping.cancel()
        await asyncio.wait([sleeping])
        assert browser.timers == {}

    run(scenario)
    assert len(browser.functions) == 4
    assert browser.held() == 0


def test_a_timer_that_is_due_calls_in_its_own_context(browser: Browser):
    """Sleeps and deadlines work as usual. A callback runs in the context in which it was requested."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")
    seen: list[tuple[str, str]] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        variable.set("the caller's")
        loop.call_later(0.01, lambda: seen.append(("implicit", variable.get())))
        loop.call_later(0.01, lambda: seen.append(("explicit", variable.get())), context=contextvars.Context())
        await asyncio.sleep(0.02)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(HOUR)

    run(scenario)
    assert seen == [("implicit", "the caller's"), ("explicit", "nobody's")]
    assert (browser.timers, browser.held()) == ({}, 0)


def test_what_is_cancelled_between_its_timer_and_its_turn_does_not_run(browser: Browser):
    called: list[str] = []

    async def scenario() -> None:
        handle = asyncio.get_running_loop().call_later(HOUR, called.append, "too late")
        (number,) = browser.timers
        browser.fire(number)
        handle.cancel()
        handle.cancel()
        assert handle.cancelled()
        await asyncio.sleep(0.01)

    run(scenario)
    assert called == []


def test_what_is_due_at_once_or_never_takes_no_timer(browser: Browser):
    """At once it runs in turn with ready work, and JavaScript cannot count to infinity."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        loop.call_soon(order.append, 1)
        loop.call_later(0, order.append, 2)
        loop.call_soon(order.append, 3)
        loop.call_later(10**9, order.append, 4).cancel()
        await asyncio.sleep(0)
        assert order == [1, 2, 3]

    run(scenario)
    assert browser.functions == []


def test_ready_handles_keep_their_order_however_many(browser: Browser):
    order: list[int] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        last = loop.create_future()

        def more() -> None:
            loop.call_soon(order.append, 3_000)
            loop.call_soon(last.set_result, None)

        for number in range(3_000):
            loop.call_soon(order.append, number)
            if number == 998:
                loop.call_soon(more)
        await last

    run(scenario)
    assert order == list(range(3_001))


def counted() -> int:
    """Return how many futures and tasks the loop has counted, of one future and one named task."""

    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WebLoop)
        future = loop.create_future()
        task = asyncio.create_task(asyncio.sleep(0, "slept"), name="one")
        loop.call_soon(future.set_result, "set")
        assert (await future, await task, task.get_name()) == ("set", "slept", "one")
        await asyncio.sleep(0)
        return loop.counted

    found: int = run(scenario)
    return found


def lines_of(adaptation: Adaptation, wanted: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    adaptation.settle(wanted, Log(lambda line: lines.append(json.loads(line))))
    return lines


def test_the_variable_gives_the_loop_back(interpreter: Browser):
    """A variable can select Pyodide's own timers and counts, which is logged once for each interpreter."""
    loop = sys.modules["pyodide.webloop"].WebLoop
    loops_own = loop.call_later
    assert counted() == 2
    adaptation = Adaptation()
    adaptation.adapt()
    ours = loop.call_later
    assert ours is not loops_own
    assert lines_of(adaptation, "adapted") == []
    assert (loop.call_later, counted()) == (ours, 0)
    assert lines_of(adaptation, "pyodide") == [{"event": "event_loop_kept", "wanted": "pyodide"}]
    assert (loop.call_later, counted()) == (loops_own, 2)
    assert lines_of(adaptation, "pyodide") == []


def test_loops_of_other_interpreters_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    """Without Pyodide no event loop is changed, nothing is logged, and nothing of Pyodide is imported."""
    monkeypatch.delitem(sys.modules, "pyodide.webloop", raising=False)
    adaptation = Adaptation()
    adaptation.adapt()
    assert "pyodide.webloop" not in sys.modules
    assert lines_of(adaptation, "pyodide") == []
    assert EVENT_LOOP.replaced == {}
