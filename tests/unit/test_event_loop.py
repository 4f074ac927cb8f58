"""Pyodide's event loop, played by one of CPython with JavaScript's timers and microtasks under it."""

import asyncio
import contextvars
import itertools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from src.platform.event_loop import adapt_event_loop

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
    """JavaScript's timers and microtasks, and the functions that it holds.

    `microtasks` counts them. Those that are asked for while `is_ending` are lost, as when the platform ends the code
    that runs.
    """

    def __init__(self) -> None:
        self.timers: dict[int, tuple[asyncio.TimerHandle, Function, int]] = {}
        self.functions: list[Function] = []
        self.microtasks = 0
        self.is_ending = False
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

    def queue_microtask(self, function: Function) -> None:
        self.microtasks += 1
        self.functions.remove(function)  # what JavaScript holds for good is what these tests ask for
        if not self.is_ending:
            asyncio.SelectorEventLoop.call_soon(WebLoop.newest, function.call, context=contextvars.Context())

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
    """Stands for Pyodide's loop, of which each test gets a class of its own to change. Its clock moves when told to."""

    newest: "WebLoop"
    now: float | None = None

    def __init__(self) -> None:
        super().__init__()
        WebLoop.newest = self

    def time(self) -> float:
        return super().time() if self.now is None else self.now

    def _install_running_loop(self) -> None:
        assert asyncio.get_running_loop() is self

    def _install_asyncgen_hooks(self) -> None:
        pass

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
        "js": {
            "setTimeout": made.set_timeout,
            "clearTimeout": made.clear_timeout,
            "queueMicrotask": made.queue_microtask,
        },
        "pyodide": {},
        "pyodide.ffi": {"create_once_callable": made.create_once_callable},
        "pyodide.webloop": {"WebLoop": type("WebLoop", (WebLoop,), {}), "PyodideFuture": asyncio.Future},
    }
    for name, content in members.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    adapt_event_loop()
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


def test_what_is_due_at_once_or_never_takes_no_timer(browser: Browser):
    """What is due at once is ready like the rest; JavaScript cannot count to infinity."""

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


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(1e-9, 1), (0.0004, 1), (0.001, 1), (0.0012, 2), (0.002, 2), (1.2342, 1235), (2.0, 2000), (25.0000001, 25001)],
)
def test_a_timer_lasts_whole_milliseconds_and_one_at_least(browser: Browser, seconds: float, milliseconds: int):
    """Hosted, only a timer moves the clock, `setTimeout(…, 0)` is none, and one cut short ends before its moment."""

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(seconds, id, None)
        assert [set_for for _, _, set_for in browser.timers.values()] == [milliseconds]

    run(scenario)


def test_what_is_ready_at_one_moment_runs_in_one_microtask(browser: Browser):
    """A hundred tasks that wake each other take turns as they always do, and JavaScript calls once."""
    order: list[int] = []

    async def turn(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0)
        order.append(number + 100)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WebLoop)
        loop.now = loop.time()
        await asyncio.sleep(0)
        before = browser.microtasks
        await asyncio.gather(*(turn(number) for number in range(100)))
        assert browser.microtasks == before  # this code is of a batch, and all of it became ready in that one

    run(scenario)
    assert order == list(range(200))


def test_a_ready_handle_sees_its_own_context_and_may_be_cancelled(browser: Browser):
    """Those of one batch have nothing to do with each other, and one that fails leaves the others alone."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")
    seen: list[str] = []
    failures: list[object] = []

    def fail() -> None:
        raise ValueError("a callback's own")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        variable.set("the caller's")
        loop.call_soon(fail)
        loop.call_soon(lambda: seen.append(variable.get()))
        loop.call_soon(lambda: seen.append(variable.get()), context=contextvars.Context())
        loop.call_soon(seen.append, "cancelled").cancel()
        await asyncio.sleep(0)

    run(scenario)
    assert seen == ["the caller's", "nobody's"]
    assert [type(failure) for failure in failures] == [ValueError]


def test_code_that_never_waits_lets_other_events_in(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    """After a thousand handles of one batch the rest take timers, which come after what else JavaScript has to do."""
    timers: list[float] = []
    loops_own = WebLoop.call_later

    def call_later(loop: Any, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        timers.append(delay)
        return loops_own(loop, delay, callback, *args, context=context)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WebLoop)
        loop.now = loop.time()
        for _ in range(2_500):
            await asyncio.sleep(0)

    monkeypatch.setattr(WebLoop, "call_later", call_later)
    monkeypatch.delattr(sys.modules["pyodide.webloop"].WebLoop, "call_later")
    adapt_event_loop()
    run(scenario)
    assert timers == [0, 0]


def test_microtasks_that_the_platform_dropped_hold_nothing_up(browser: Browser):
    """It ends code that takes too long, and the microtasks with it. The next event comes later, and is served."""
    served: list[str] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WebLoop)
        loop.now = loop.time()
        await asyncio.sleep(0)
        loop.now += 0.01
        browser.is_ending = True
        loop.call_soon(served.append, "of the code that was ended")
        browser.is_ending = False
        loop.now += 0.01
        loop.call_soon(served.append, "of the next event")
        await asyncio.sleep(0)

    run(scenario)
    assert served == ["of the next event"]


def test_a_task_that_the_platform_ended_in_mid_step_holds_no_other_up(browser: Browser):
    """It never left its step. Where the next event begins no task is at work, so that another can begin its own."""
    at_work: list[object] = []

    async def never() -> None:
        """Be ended before it begins."""

    loop = sys.modules["pyodide.webloop"].WebLoop()
    dead = asyncio.Task(never(), loop=loop)

    def end() -> None:
        asyncio.tasks._enter_task(loop, dead)
        loop.call_later(0.01, serve)

    def serve() -> None:
        at_work.append(asyncio.current_task(loop))
        loop.stop()

    loop.call_soon(end)
    loop.run_forever()
    if asyncio.current_task(loop) is dead:  # else nothing could tidy up
        asyncio.tasks._leave_task(loop, dead)
    dead.cancel()
    loop.run_until_complete(asyncio.wait([dead]))
    loop.close()
    assert at_work == [None]


def test_loops_of_other_interpreters_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    """Without Pyodide there is nothing to do, and nothing of it is imported."""
    monkeypatch.delitem(sys.modules, "pyodide.webloop", raising=False)
    adapt_event_loop()
    assert "pyodide.webloop" not in sys.modules
