"""The isolate's allowance of memory: who gets a share, who waits, and what becomes of shares whose holders died."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.domain import limits
from src.kernel.domain.errors import MemoryShort
from src.kernel.run.memory import MemoryAllowance, MemoryShare, User


@pytest.fixture(name="loop")
def virtual_time() -> Loop:
    return Loop()  # type: ignore[abstract]


def run[T](loop: Loop, coroutine: Coroutine[Any, Any, T]) -> T:
    return loop.run_until_complete(coroutine)


def test_no_more_is_lent_than_there_is(loop: Loop) -> None:
    async def story() -> list[bool]:
        memory = MemoryAllowance(10)
        first = memory.take("request", 6)
        assert first is not None
        found = [memory.take("request", size) is not None for size in (5, 4, 1)]
        first.close()
        first.close()
        return [*found, memory.taken == 4, memory.take("request", 6) is not None]

    assert run(loop, story()) == [False, True, False, True, True]


@pytest.mark.parametrize("user", ["request", "run"])
def test_a_lone_one_of_its_kind_is_never_refused(loop: Loop, user: User) -> None:
    """However large a share is, and whatever the other kind holds: requests and runs cannot shut each other out."""
    other: User = "run" if user == "request" else "request"

    async def story() -> list[bool]:
        memory = MemoryAllowance(10)
        return [memory.take(one, size) is not None for one, size in ((other, 10), (user, 100), (user, 1), (other, 1))]

    assert run(loop, story()) == [True, True, False, False]


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

    assert run(loop, story()) == pytest.approx(5, abs=3 * limits.MEMORY_LOOK_SECONDS)


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
        assert freed == []  # nobody needed the memory
        assert memory.take("request", 5) is not None
        with pytest.raises(MemoryShort):
            dead.renew()
        alive.renew()
        return freed, refused

    assert run(loop, story()) == (["dead"], True)


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

    assert run(loop, story()) == [True, False, True, True, True, False, True]
