"""Who makes a task's calls, how many at a time, and which of them are out."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from ..core.errors import CallNotStarted, ModelConnectionLost, ModelError, ModelTimeout
from ..inference.protocol import ModelCall, ModelReply, Provider
from ..store.claims import CallKey


class Silence(ModelConnectionLost):
    """No answer within the time: whoever was asked may still hold the connection."""


def _nobody(calls: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Crew:
    """Calls that start together go out in groups of up to `group`, one subrequest and one waiting connection each.

    `slack_seconds` is what the way there may take; 0 for a worker that makes the calls itself. Others see to it
    themselves that no call starts too late. `starting` is told how many calls are about to be asked for.
    """

    provider: Provider
    concurrency: int
    group: int = 1
    slack_seconds: float = 0.0
    starting: Callable[[int], None] = _nobody

    async def call(self, call: ModelCall, seconds: float, starts_by: float) -> ModelReply | ModelError:
        """Have a call made within `seconds`, if it is not too late to start it. The model's errors are returned."""
        if not self.slack_seconds and asyncio.get_running_loop().time() >= starts_by:
            return CallNotStarted("too late to start the call")
        try:
            async with asyncio.timeout(seconds + self.slack_seconds):
                return await self.provider.infer(call)
        except TimeoutError:
            if self.slack_seconds:  # a crew reports its calls' timeouts itself: its silence says nothing of them
                return Silence("whoever was to make the call gave no answer")
            return ModelTimeout(f"no reply from the model within {seconds:g} s")
        except ModelError as error:
            return error


class Roster:
    """The groups that are out. One stays out until its last call has ended, however few calls it has.

    One that gave no answer stays out for good, even when its calls go out again in other groups: its connection is one
    of the six, and only another invocation has new ones. When no group is left to form, the run ends and the next one
    takes over.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._group_of: dict[CallKey, int] = {}  # each call that is out; groups are numbered as they form
        self._silent: set[int] = set()
        self._formed = 0

    @property
    def groups(self) -> int:
        """How many groups are out."""
        return len(self._silent.union(self._group_of.values()))

    @property
    def free(self) -> int:
        """How many calls may start, as far as the crew goes."""
        return max(0, self._crew.concurrency // self._crew.group - self.groups) * self._crew.group

    def start(self, keys: Sequence[CallKey]) -> int:
        """Form groups of these calls, which start now, and return how many."""
        first = self._formed
        self._formed += ceil(len(keys) / self._crew.group)
        self._group_of.update({key: first + at // self._crew.group for at, key in enumerate(keys)})
        self._crew.starting(len(keys))
        return self._formed - first

    def end(self, key: CallKey, result: ModelReply | ModelError) -> None:
        """Strike a call that has ended."""
        group = self._group_of.pop(key)
        if isinstance(result, Silence):
            self._silent.add(group)
