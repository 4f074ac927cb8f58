"""Makes a run's model calls: the protocol `ModelCaller`, and its implementation without lanes.

Calls are sent in groups. A group is one subrequest of the run's invocation, and one connection that waits for an
answer. It is answered when all of its calls have ended, or some of them, if it may be answered in parts. The
implementation that lets lanes make the calls is in `objects.laned_caller`.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..domain.errors import CallerLost, CallNotStarted, ModelError, ModelTimeout
from . import clock
from .protocol import ModelCall, ModelReply, Provider

CallOutcome = ModelReply | ModelError


class HeldCall(NamedTuple):
    """A call that a lane still makes after it has answered for other calls of the group."""

    lane: int
    number: int  # The call's number in its claim.


class Silence(CallerLost):
    """A lane gave no answer in time; its connection may still be open."""


class ModelCaller(Protocol):
    """Makes the model calls of a run: at most `groups_most` groups at a time, each of at most `group_size` calls.

    Only a worker that makes the calls itself can cancel a call in flight.
    """

    @property
    def group_size(self) -> int:
        """The most model calls in one group of calls."""
        ...

    @property
    def groups_most(self) -> int:
        """The most groups that may be in flight at the same time."""
        ...

    @property
    def slack_seconds(self) -> float:
        """The most seconds that a group may travel to its lane, and its answer back; 0 only without lanes."""
        ...

    async def call(
        self, calls: Sequence[ModelCall | HeldCall], seconds: float, starts_by: float, *, in_parts: bool = False
    ) -> Sequence[CallOutcome | HeldCall]:
        """Make a group of calls, and return their outcomes in the calls' order when the last one has ended.

        With `in_parts` a lane answers soon after the first call has ended, and the outcome of a call that goes on is a
        HeldCall. A group that contains the held calls of a lane goes to this lane, which makes the new calls of the
        group beside them. If the lane no longer knows a held call, the outcome of this call is CallerLost.

        Each call may take `seconds`. The outcome of a call that cannot start before `starts_by`, by the run's clock, is
        CallNotStarted. The outcome of each call of a group is ModelConnectionLost if the connection is lost, and
        Silence without an answer in time. An error of the model is returned as an outcome, and not raised.
        """
        ...

    async def abort(self) -> None:
        """Ask the lanes to end the calls in flight soon, which a run cannot cancel itself. Raises nothing."""
        ...


class LocalCaller:
    """Implements `ModelCaller` for a worker that makes its calls itself. A group is one call."""

    group_size = 1
    slack_seconds = 0.0

    def __init__(self, provider: Provider, concurrency: int) -> None:
        self.groups_most = concurrency
        self._provider = provider

    async def call(
        self, calls: Sequence[ModelCall | HeldCall], seconds: float, starts_by: float, *, in_parts: bool = False
    ) -> Sequence[CallOutcome]:
        """See `ModelCaller.call`. Cancelling the coroutine `call` cancels the model call."""
        (call,) = calls
        assert not isinstance(call, HeldCall)
        return [await call_model(self._provider, call, seconds, starts_by)]

    async def abort(self) -> None:
        """Do nothing, because a run without lanes cancels its calls itself."""


async def call_model(provider: Provider, call: ModelCall, seconds: float, starts_by: float) -> CallOutcome:
    """Make one model call within `seconds`, unless `starts_by` has passed.

    Errors of the model are returned, not raised. An error that is returned has no traceback, and no errors before it:
    their frames have the error in a variable, and refer to the whole run, which would be garbage in a cycle.
    """
    if clock.now() >= starts_by:
        return CallNotStarted("too late to start the call")
    try:
        async with asyncio.timeout(seconds):
            return await provider.infer(call)
    except TimeoutError:
        return ModelTimeout(f"no reply from the model within {seconds:g} s")
    except ModelError as error:
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return error
