"""Which requests may add to the load of a slow database, shown by the class that decides this. Each call is timed."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.composition import App, Bindings
from src.kernel.api.base.services import RequestMemory
from src.kernel.domain import limits, settings
from src.kernel.domain.database_state import DatabaseLoad
from src.kernel.domain.errors import StoreError
from src.kernel.domain.meter import Meter
from src.kernel.store.d1 import D1Statement, Database
from src.kernel.store.tasks import TaskStore
from tests.support.sqlite_d1 import NETWORK_LOST, SqliteD1

BOUND, PROBE = limits.OVERLOAD_SECONDS, limits.OVERLOAD_PROBE_SECONDS


def call(load: DatabaseLoad, began: float, ended: float, *, answered: bool = True) -> None:
    load.ended(load.began(began), ended, answered=answered)


def test_it_is_open_at_first_and_while_answers_come_in_time() -> None:
    load = DatabaseLoad()
    assert load.admits(0)
    call(load, 0, BOUND)
    assert load.admits(BOUND)
    assert load.admits(BOUND)


def test_a_late_answer_closes_it_and_one_in_time_opens_it() -> None:
    load = DatabaseLoad()
    call(load, 0, BOUND + 0.001)
    assert not load.admits(6)
    call(load, 6, 6.1)
    assert load.admits(6.2)
    call(load, 7, 7 + BOUND + 1)
    assert not load.admits(14)


def test_a_call_that_is_out_for_too_long_closes_it_already() -> None:
    load = DatabaseLoad()
    load.began(0)
    assert load.admits(BOUND)
    assert not load.admits(BOUND + 0.001)


def test_a_lost_call_says_nothing_once_a_later_one_was_answered() -> None:
    load = DatabaseLoad()
    lost = load.began(0)
    call(load, 1, 1.1)
    assert load.admits(20)
    load.ended(lost, limits.STORE_SECONDS, answered=False)
    assert load.admits(limits.STORE_SECONDS)


def test_what_was_taken_back_in_time_says_nothing() -> None:
    load = DatabaseLoad()
    call(load, 0, 10)
    call(load, 10, 11, answered=False)
    assert not load.admits(11)
    call(load, 12, 12.1)
    assert load.admits(13)
    call(load, 14, 14 + BOUND + 1, answered=False)
    assert not load.admits(21)


def test_one_probe_at_a_time() -> None:
    load = DatabaseLoad()
    call(load, 0, 6)
    assert not load.admits(6)
    assert not load.admits(6 + PROBE - 0.001)
    assert load.admits(6 + PROBE)
    probe = load.began(6 + PROBE)
    assert not load.admits(6 + PROBE)
    assert not load.admits(6 + PROBE + limits.STORE_SECONDS_OF_REQUEST)
    load.ended(probe, 20, answered=True)
    assert not load.admits(20 + PROBE - 0.001)
    assert load.admits(20 + PROBE)
    call(load, 25, 25.1)
    assert [load.admits(26) for _ in range(3)] == [True] * 3


def test_a_probe_of_which_nothing_is_heard_is_not_the_last_one() -> None:
    load = DatabaseLoad()
    call(load, 0, 6)
    load.refuses(6)
    assert load.admits(11)
    again = 11 + limits.STORE_SECONDS_OF_REQUEST + PROBE
    assert not load.admits(again - 0.001)
    assert load.admits(again)


def test_asking_whether_it_refuses_takes_no_probe() -> None:
    load = DatabaseLoad()
    call(load, 0, 6)
    assert load.refuses(6)
    assert [load.refuses(11), load.refuses(11), load.admits(11), load.refuses(11)] == [False, False, True, True]


def test_a_probe_that_made_no_call_is_given_back() -> None:
    load = DatabaseLoad()
    call(load, 0, 6)
    load.unprobed(6)
    load.refuses(6)
    load.unprobed(7)
    assert not load.admits(7)
    assert load.admits(11)
    load.unprobed(11.5)
    assert load.admits(12)
    probe = load.began(12)
    load.unprobed(12)
    assert not load.admits(12)
    load.ended(probe, 20, answered=True)
    load.unprobed(20)
    assert not load.admits(20)
    assert load.admits(20 + PROBE)


def test_who_was_refused_gives_no_probe_back() -> None:
    load = DatabaseLoad()
    call(load, 0, 6)
    assert not load.admits(6)
    load.unprobed(6)
    assert not load.admits(6)
    assert load.admits(11)
    load.began(11)
    assert not load.admits(11)
    load.unprobed(11)
    assert not load.admits(11)


def test_calls_whose_callers_are_gone_are_forgotten() -> None:
    """The runtime may end an invocation silently."""
    load = DatabaseLoad()
    for second in range(100):
        load.began(second)
    assert not load.admits(100)
    assert load.admits(99.1 + limits.OVERLOAD_FORGET_SECONDS)
    assert not load._out


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(max_steps=1_000_000)  # type: ignore[abstract]
    yield made
    made.close()


@pytest.mark.parametrize(
    ("seconds", "error", "behind"),
    [
        (BOUND, "", False),
        (BOUND + 1, "", True),
        (0, NETWORK_LOST, False),
        (BOUND + 1, NETWORK_LOST, True),
        (99, "", True),
    ],
)
def test_each_answer_is_timed(loop: Loop, seconds: float, error: str, behind: bool) -> None:
    load, binding, timed = DatabaseLoad(), SqliteD1(), []
    batch: Callable[[list[D1Statement]], object] = binding.batch

    async def slow(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        await asyncio.sleep(seconds)
        return await batch(statements)  # type: ignore[misc]

    binding.batch = slow  # type: ignore[method-assign]
    if error:
        binding.fail(error, times=limits.STORE_SENDS)
    store = TaskStore(Database(binding, Meter(), load=load))

    async def story() -> None:
        asked = asyncio.ensure_future(store.ready())
        await asyncio.sleep(BOUND + 0.5)
        timed.append(load.is_behind(loop.time()))
        await asyncio.wait([asked])
        assert (asked.exception() is None) == (not error and seconds < limits.STORE_SECONDS)
        assert asked.exception() is None or isinstance(asked.exception(), StoreError)
        timed.append(load.is_behind(loop.time()))

    loop.run_until_complete(story())
    assert timed == [behind, behind]
    binding.close()


def test_a_call_that_is_taken_back_is_no_answer(loop: Loop) -> None:
    load, binding = DatabaseLoad(), SqliteD1()
    call(load, -10, -1)

    async def stuck(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        await asyncio.sleep(1e9)
        raise AssertionError

    binding.batch = stuck  # type: ignore[method-assign]
    store = TaskStore(Database(binding, Meter(), load=load))

    async def story() -> None:
        asked = asyncio.ensure_future(store.ready())
        await asyncio.sleep(1)
        asked.cancel()
        await asyncio.wait([asked])

    loop.run_until_complete(story())
    assert load.is_behind(loop.time())
    assert not load._out
    binding.close()


@pytest.mark.parametrize("part", ["the API", "a worker"])
def test_all_of_an_isolate_time_their_calls(loop: Loop, part: str) -> None:
    binding, isolate = SqliteD1(), RequestMemory()
    batch = binding.batch

    async def slow(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        await asyncio.sleep(BOUND + 1)
        return await batch(statements)

    binding.batch = slow  # type: ignore[method-assign]
    runtime: Any = SimpleNamespace(
        write=lambda line: None, now_ms=lambda: 0, entropy=bytes, chance=lambda: 0.0, courier=None
    )
    variables = {"AI_PROVIDER": "workers-ai"}
    app = App(Bindings(database=binding), settings.load(variables.get), runtime, lambda run: None, isolate)
    store = app.api().store if part == "the API" else app.worker.store
    loop.run_until_complete(store.ready())
    assert isolate.load.is_behind(loop.time())
    binding.close()
