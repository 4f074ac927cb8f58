"""The calls of a run that are out: started together, awaited together, dropped together."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..core import limits
from ..core.errors import ModelError
from ..inference.protocol import ModelCall, ModelReply
from ..store.claims import CallKey
from .crew import Crew, Roster


class Finished(NamedTuple):
    """A call that came back, with what it gave."""

    key: CallKey
    result: ModelReply | ModelError
    seconds: float


class Calls:
    """Has a crew make calls; `message` says what a call is, each may take `seconds`."""

    def __init__(self, crew: Crew, message: Callable[[CallKey], ModelCall], seconds: float) -> None:
        self._crew = crew
        self._message = message
        self._seconds = seconds
        self._roster = Roster(crew)
        self._out: dict[asyncio.Task[Finished], CallKey] = {}

    @property
    def groups(self) -> int:
        """How many groups of calls are out."""
        return self._roster.groups

    @property
    def free(self) -> int:
        """How many more calls may start, as far as the crew goes."""
        return self._roster.free

    def start(self, keys: Sequence[CallKey], starts_by: float) -> int:
        """Start calls, each only as long as it is not too late, and return the subrequests that they take."""
        groups = self._roster.start(keys)
        for key in keys:
            self._out[asyncio.create_task(self._call(key, starts_by))] = key
        return groups

    async def _call(self, key: CallKey, starts_by: float) -> Finished:
        loop = asyncio.get_running_loop()
        started = loop.time()
        result = await self._crew.call(self._message(key), self._seconds, starts_by)
        return Finished(key, result, loop.time() - started)

    async def wait(self, now: float, until: float) -> list[Finished]:
        """Wait for calls to end, but not beyond `until`; take in those that end together, to be written together."""
        if not self._out:
            assert until != math.inf  # otherwise the claim would have ended
            await asyncio.sleep(max(0.0, until - now))
            return []
        timeout = None if until == math.inf else max(0.0, until - now)
        done, pending = await asyncio.wait(self._out, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if done and pending:
            linger = limits.LINGER_FRACTION * max(task.result().seconds for task in done)
            more, _ = await asyncio.wait(pending, timeout=min(linger, limits.LINGER_SECONDS_MOST))
            done |= more
        # In the order of the calls, so that what is written does not hang on a set's order.
        ended = sorted(done, key=self._out.__getitem__)
        for task in ended:
            self._roster.end(self._out.pop(task), task.result().result)
        return [task.result() for task in ended]

    def drop(self) -> None:
        """Give up on the calls that are out."""
        for task in self._out:
            task.cancel()
        self._out.clear()
