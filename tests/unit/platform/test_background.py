"""Work after an answer or an object's event, and the JavaScript promise with which the platform waits for it."""

import asyncio
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from src.kernel.run.log import Log
from src.platform.surroundings import Background


class Resolvers:
    """A JavaScript promise, and the function that fulfils it."""

    def __init__(self) -> None:
        self.promise = asyncio.get_running_loop().create_future()

    def resolve(self) -> None:
        self.promise.set_result(None)


class Promise:
    withResolvers = Resolvers  # noqa: N815 - JavaScript's name


class ObjectContext:
    def __init__(self) -> None:
        self.promises: list[asyncio.Future[None]] = []

    def waitUntil(self, promise: Any) -> None:  # noqa: N802 - JavaScript's name
        assert isinstance(promise, asyncio.Future)
        self.promises.append(promise)


class Bench:
    """The code that starts work in the background, with its context and its log."""

    def __init__(self) -> None:
        self.context = ObjectContext()
        self.lines: list[dict[str, Any]] = []
        log = Log(lambda line: self.lines.append(json.loads(line)))
        self.background = Background(self.context, log)

    def until_quiet(self, act: Callable[[], Any]) -> None:
        async def play() -> None:
            act()
            await asyncio.wait(self.context.promises)

        asyncio.run(play())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    module = ModuleType("js")
    vars(module).update(Promise=Promise)
    monkeypatch.setitem(sys.modules, "js", module)
    return Bench()


def test_work_runs_to_its_end_and_the_platform_waits_for_it(bench: Bench):
    ended: list[int] = []

    async def work(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append(turns)

    def act() -> None:
        bench.background(work(20))
        bench.background(work(3))

    bench.until_quiet(act)
    assert ended == [3, 20]
    assert bench.lines == []


class Overrun(BaseException):
    """The error that the platform raises when the CPU time is nearly used up."""


@pytest.mark.parametrize("error", [ValueError("the work's own"), Overrun()])
def test_an_error_is_logged_and_ends_the_wait(bench: Bench, error: BaseException):
    """No code awaits background work, and its promise is fulfilled, so that the platform ends."""

    async def work() -> None:
        raise error

    bench.until_quiet(lambda: bench.background(work()))
    assert bench.lines == [{"event": "background_failed", "error": type(error).__name__}]
