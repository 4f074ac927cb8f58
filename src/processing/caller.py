"""The code that makes a run's calls: the protocol, and the worker that makes them itself.

Calls go out in groups. A group is one subrequest of the run's invocation, and one connection that waits for an answer.
The taker of a group keeps the connection until it has all outcomes. The implementation for lanes is
`objects.laned_caller`.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ..core.errors import CallerLost, CallNotStarted, ModelError, ModelTimeout
from ..inference.protocol import ModelCall, ModelReply, Provider
from . import clock

CallOutcome = ModelReply | ModelError


class Silence(CallerLost):
    """No answer within the time: the other side may still hold the connection."""


class ModelCaller(Protocol):
    """Makes the calls of a run: up to `groups_most` groups at a time, of up to `group_size` calls each.

    `slack_seconds` is the time that a group may take to reach the maker of its calls, and its answer to come back. The
    slack is 0 for a worker that makes the calls itself, and only there: then a call that is out can be cancelled.
    """

    @property
    def group_size(self) -> int:
        """How many calls may go out as one group."""
        ...

    @property
    def groups_most(self) -> int:
        """How many groups may be out together."""
        ...

    @property
    def slack_seconds(self) -> float:
        """The seconds that a group may take in addition to its calls' own time."""
        ...

    async def call(self, calls: Sequence[ModelCall], seconds: float, starts_by: float) -> Sequence[CallOutcome]:
        """Make a group of calls, and return their outcomes in the calls' order when the last one has ended.

        Each may take `seconds`. A call that cannot start before `starts_by`, on the run's clock, is CallNotStarted. A
        group that was lost on its way is ModelConnectionLost for each call. A group that gave no answer in time is
        Silence for each call. The model's errors are returned, not raised.
        """
        ...

    async def abort(self) -> None:
        """Make the calls that are out end soon, if they cannot be cancelled.

        The request may fail without raising an error.
        """
        ...


class LocalCaller:
    """Implements `ModelCaller` for a worker that makes its calls itself, each on its own: a group is one call."""

    group_size = 1
    slack_seconds = 0.0

    def __init__(self, provider: Provider, concurrency: int) -> None:
        self.groups_most = concurrency
        self._provider = provider

    async def call(self, calls: Sequence[ModelCall], seconds: float, starts_by: float) -> Sequence[CallOutcome]:
        """See `ModelCaller.call`. Cancelling this cancels the call."""
        (call,) = calls
        return [await call_model(self._provider, call, seconds, starts_by)]

    async def abort(self) -> None:
        """Do nothing: a worker can cancel its own calls."""


async def call_model(provider: Provider, call: ModelCall, seconds: float, starts_by: float) -> CallOutcome:
    """Make one call within `seconds`, if it is not too late to start it. The model's errors are returned."""
    if clock.now() >= starts_by:
        return CallNotStarted("too late to start the call")
    try:
        async with asyncio.timeout(seconds):
            return await provider.infer(call)
    except TimeoutError:
        return ModelTimeout(f"no reply from the model within {seconds:g} s")
    except ModelError as error:
        return error
