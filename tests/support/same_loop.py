"""Runs coroutines one after another on one event loop of the process.

`asyncio.run` makes a loop for each coroutine, with a selector and two sockets. Benches run thousands of short
coroutines, and in a profile the loops took two fifths of the time of the store's calls.
"""

import asyncio
import atexit
from collections.abc import Coroutine
from functools import cache
from typing import Any


@cache
def _runner() -> asyncio.Runner:
    made = asyncio.Runner()
    atexit.register(made.close)
    return made


def run_coroutine[T](coroutine: Coroutine[Any, Any, T]) -> T:
    runner = _runner()
    try:
        return runner.run(coroutine)
    finally:
        if left := asyncio.all_tasks(runner.get_loop()):
            for task in left:
                task.cancel()
            runner.run(_ended(left))


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
