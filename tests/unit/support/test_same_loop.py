"""The event loop that benches share: each coroutine ends before the next coroutine begins."""

import asyncio

import pytest

from tests.support.same_loop import run_coroutine


def test_nothing_of_a_coroutine_goes_on_in_the_next() -> None:
    seen: list[str] = []

    async def behind() -> None:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def leaves(error: bool) -> int:
        tasks.append(asyncio.ensure_future(behind()))
        await asyncio.sleep(0)
        if error:
            raise ValueError("broken")
        return 7

    tasks: list[asyncio.Task[None]] = []
    assert run_coroutine(leaves(False)) == 7
    assert seen == ["cancelled"]
    with pytest.raises(ValueError, match="broken"):
        run_coroutine(leaves(True))
    assert seen == ["cancelled"] * 2
    assert all(task.cancelled() for task in tasks)
