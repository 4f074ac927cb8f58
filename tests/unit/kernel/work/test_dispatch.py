"""Sending off a task by its routes, and the isolate's allowance of memory, in virtual time."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.domain import limits
from src.kernel.domain.errors import MemoryShort
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Route
from src.kernel.run.log import Log
from src.kernel.run.memory import MemoryAllowance, MemoryShare, User
from src.kernel.work.dispatch import Dispatcher
from tests.support.invocations import Road


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(max_steps=10_000)  # type: ignore[abstract]
    yield made
    made.close()


@pytest.mark.parametrize(
    ("seconds", "route", "took"),
    [
        (limits.SEND_SECONDS - 0.1, Route.QUEUE, limits.SEND_SECONDS - 0.1),
        (limits.SEND_SECONDS + 0.1, Route.DURABLE_OBJECT, limits.SEND_SECONDS),
        (1e9, Route.DURABLE_OBJECT, limits.SEND_SECONDS),
    ],
)
def test_a_send_that_gives_no_answer_in_time_counts_as_failed(
    loop: Loop, seconds: float, route: Route, took: float
) -> None:
    queue, objects = Road(Route.QUEUE, seconds=seconds), Road(Route.DURABLE_OBJECT)
    lines: list[str] = []
    dispatcher = Dispatcher([queue, objects], Meter(), Log(lines.append))
    assert loop.run_until_complete(dispatcher.dispatch(TaskKey("t:task"))) is route
    assert loop.time() == pytest.approx(took)
    assert [len(queue.sent), len(objects.sent)] == ([1, 0] if route is Route.QUEUE else [0, 1])
    failed: list[dict[str, Any]] = [json.loads(line) for line in lines if "send_failed" in line]
    assert [line["route"] for line in failed] == ([] if route is Route.QUEUE else ["queue"])


def test_when_no_route_answers_the_task_is_the_sweeps(loop: Loop) -> None:
    silent = [Road(route, seconds=1e9) for route in (Route.QUEUE, Route.DURABLE_OBJECT)]
    lines: list[str] = []
    dispatcher = Dispatcher(silent, Meter(), Log(lines.append))
    assert loop.run_until_complete(dispatcher.dispatch(TaskKey("t:task"))) is None
    assert loop.time() == pytest.approx(2 * limits.SEND_SECONDS)
    assert "undispatched" in lines[-1]


@pytest.mark.parametrize(("crowded", "first"), [(False, Route.QUEUE), (True, Route.DURABLE_OBJECT)])
def test_the_first_choice_is_the_route_that_is_asked_first(loop: Loop, crowded: bool, first: Route) -> None:
    dispatcher = Dispatcher([Road(Route.QUEUE), Road(Route.DURABLE_OBJECT)], Meter(), Log(lambda _line: None))
    assert dispatcher.first_choice(crowded=crowded) is first
    assert loop.run_until_complete(dispatcher.dispatch(TaskKey("t:task"), crowded=crowded)) is first


def test_no_more_is_lent_than_there_is(loop: Loop) -> None:
    async def story() -> list[bool]:
        memory = MemoryAllowance(10)
        first = memory.take("request", 6)
        assert first is not None
        found = [memory.take("request", size) is not None for size in (5, 4, 1)]
        first.close()
        first.close()
        return [*found, memory.taken == 4, memory.take("request", 6) is not None]

    assert loop.run_until_complete(story()) == [False, True, False, True, True]


@pytest.mark.parametrize("user", ["request", "run"])
def test_a_lone_one_of_its_kind_is_never_refused(loop: Loop, user: User) -> None:
    """However large a share is, and whatever the other kind holds: requests and runs cannot shut each other out."""
    other: User = "run" if user == "request" else "request"

    async def story() -> list[bool]:
        memory = MemoryAllowance(10)
        return [memory.take(one, size) is not None for one, size in ((other, 10), (user, 100), (user, 1), (other, 1))]

    assert loop.run_until_complete(story()) == [True, True, False, False]


def test_whoever_waits_gets_its_turn(loop: Loop) -> None:
    """A run waits until there is memory. It does not fail as long as the others go on within its patience."""

    async def story() -> float:
        memory = MemoryAllowance(10)
        held = await memory.share("run", 10, 1)
        asyncio.get_running_loop().call_later(3, held.close)
        await memory.share("run", 1, limits.MEMORY_RUN_WAIT_SECONDS)
        with pytest.raises(MemoryShort):
            await memory.share("run", 10, 2)
        return asyncio.get_running_loop().time()

    assert loop.run_until_complete(story()) == pytest.approx(5, abs=3 * limits.MEMORY_LOOK_SECONDS)


def test_a_dead_holder_blocks_nobody_for_ever(loop: Loop) -> None:
    """A share without a sign of life is taken back: a killed invocation runs no `finally`."""

    async def story() -> tuple[list[str], bool]:
        memory, freed = MemoryAllowance(10), list[str]()
        dead = memory.take("request", 5, lambda: freed.append("dead"))
        alive = memory.take("request", 5, lambda: freed.append("alive"))
        assert dead is not None
        assert alive is not None
        await asyncio.sleep(limits.MEMORY_SHARE_SECONDS - 1)
        alive.renew()
        refused = memory.take("request", 5) is None
        await asyncio.sleep(2)
        assert freed == []  # a share that is too old is freed only when another request needs its memory
        assert memory.take("request", 5) is not None
        with pytest.raises(MemoryShort):
            dead.renew()
        alive.renew()
        return freed, refused

    assert loop.run_until_complete(story()) == (["dead"], True)


def test_a_run_counts_what_it_has(loop: Loop) -> None:
    """A share grows only if there is memory. What is there already is counted, even beyond the allowance."""

    async def story() -> list[bool]:
        memory = MemoryAllowance(10)
        other = memory.take("run", 4)
        assert other is not None
        share = MemoryShare(memory, "run", 0, lambda: None)
        found = [share.resize(6), share.resize(7), share.resize(2), share.resize(6)]
        share.count(20)
        found += [memory.taken == 24, memory.take("run", 1) is not None]
        share.close()
        return [*found, memory.taken == 4]

    assert loop.run_until_complete(story()) == [True, False, True, True, True, False, True]
