"""Pyodide's event loop, played by one of CPython with JavaScript's timers under it: what is cancelled is cleared."""

import asyncio
import contextvars
import itertools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from src.platform.timers import clear_cancelled_timers

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
    """JavaScript's timers, and the functions that it holds."""

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
        # JavaScript calls from nobody's context.
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
        """How many functions JavaScript still holds."""
        return sum(function.held for function in self.functions)


class WebLoop(asyncio.SelectorEventLoop):
    """Stands for Pyodide's loop, of which each test gets a class of its own to change."""

    def call_later[*Args](
        self,
        delay: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_at(self.time() + delay, callback, *args, context=context)

    def call_at[*Args](
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    """JavaScript under a loop whose cancelled timers are cleared."""
    made = Browser()
    members: dict[str, dict[str, Any]] = {
        "js": {"setTimeout": made.set_timeout, "clearTimeout": made.clear_timeout},
        "pyodide": {},
        "pyodide.ffi": {"create_once_callable": made.create_once_callable},
        "pyodide.webloop": {"WebLoop": type("WebLoop", (WebLoop,), {})},
    }
    for name, content in members.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    clear_cancelled_timers()
    return made


def run(scenario: Callable[[], Any]) -> Any:
    """Run on the loop."""
    with asyncio.Runner(loop_factory=sys.modules["pyodide.webloop"].WebLoop) as runner:
        return runner.run(scenario())


def test_a_deadline_that_is_met_leaves_no_timer(browser: Browser):
    """`asyncio.timeout`, `wait_for`, `wait` and a sleep that is cancelled: nothing of an hour is left of them."""

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
    """Sleeps and deadlines do what they always do; a callback sees the context in which it was asked for."""
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
    """A timer that has fired has put its callback on the loop; cancelling takes it back from there, once or twice."""
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


def test_what_is_due_at_once_or_never_is_left_to_the_loop(browser: Browser):
    """`call_soon` and short delays have their own way; JavaScript cannot count to infinity."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        loop.call_later(0, order.append, 1)
        loop.call_later(0.001, order.append, 2)
        loop.call_later(10**9, order.append, 3).cancel()
        await asyncio.sleep(0.002)
        assert order == [1, 2]

    run(scenario)
    assert browser.functions == []


def test_loops_of_other_interpreters_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    """Without Pyodide there is nothing to do, and nothing of it is imported."""
    monkeypatch.delitem(sys.modules, "pyodide.webloop", raising=False)
    clear_cancelled_timers()
    assert "pyodide.webloop" not in sys.modules
