"""Whether a run's task goes on, asked while the run waits for slow calls and so writes nothing that would tell it.

A look is one read of the task's row. Where somebody tells the host that its task has ended, the run looks at once.
"""

import asyncio
import math

from ...core import limits
from ...core.errors import StoreError
from ...core.pace import Latency, start_seconds
from ...core.settings import Settings
from ...store.claims import Claim
from ...store.tasks import TaskStore
from .. import clock
from ..allowance import Allowance
from ..log import Log
from ..outcomes import ClaimLost


class Hint:
    """What a host has been told of its task: that it ended under a claim, or only that something has happened."""

    def __init__(self) -> None:
        self._given: int | None = None
        self._waiting: asyncio.Future[None] | None = None

    def give(self, ended_fence: int = -1) -> None:
        """Wake the run, or have it look as soon as it waits. Claims up to this fence are over for good."""
        self._given = max(ended_fence, -1 if self._given is None else self._given)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def take(self) -> int | None:
        """Return the fence that was given since this was asked last, -1 if none was named; None: nobody said a word."""
        given, self._given = self._given, None
        return given

    def awaited(self) -> asyncio.Future[None]:
        """Return what is done once the hint is given, and at once if it is already."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._given is not None:
            self._waiting.set_result(None)
        return self._waiting


class Spacing:
    """When a run looks next: LOOK_SECONDS_FIRST after its last write, then later, up to `most` times. Pure.

    A write tells the same as a look, so the looks begin anew after it. The spaces double up to LOOK_SECONDS_MOST; after
    looks without an answer they double without end, and a slow database is asked less often from the start.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._since = -math.inf
        self._seconds = limits.LOOK_SECONDS_FIRST

    def next_at(self, wrote_at: float, latency: float) -> float:
        """Return when the next look is due after a write at `wrote_at`, where a write takes `latency` seconds."""
        if wrote_at > self._since:
            self._since, self._seconds = wrote_at, limits.LOOK_SECONDS_FIRST
        space = max(self._seconds, limits.LOOK_LATENCIES * latency)
        return self._since + space if self._left > 0 else math.inf

    def looked(self, now: float, *, answered: bool) -> None:
        """Take note of a look that has ended."""
        self._left -= 1
        self._since = now
        self._seconds *= 2
        if answered:
            self._seconds = min(self._seconds, limits.LOOK_SECONDS_MOST)


class Looks:
    """The looks of one run. `latency` is the isolate's. `hint` is its host's, if the host can be told anything."""

    def __init__(
        self,
        claim: Claim,
        store: TaskStore,
        settings: Settings,
        allowance: Allowance,
        latency: Latency,
        hint: Hint | None,
        log: Log,
    ) -> None:
        self._claim = claim
        self._store = store
        self._allowance = allowance
        self._latency = latency
        self._spacing = Spacing(limits.LOOKS_MOST[settings.plan])
        self.hint = hint or Hint()
        self._log = log
        self._said_spent = False

    def next_at(self, wrote_at: float, groups_out: int) -> float:
        """Return when the run looks next: never while nothing is out, or with nothing to spare for it.

        With nothing to spare a task that ends keeps its host until the next call has ended. The log says so, once.
        """
        if groups_out == 0:
            return math.inf
        due_at = math.inf
        if self._allowance.allows_look(groups_out):
            due_at = self._spacing.next_at(wrote_at, self._latency.seconds(clock.now()))
        if due_at == math.inf and not self._said_spent:
            self._said_spent = True
            self._log("looks_spent", groups=groups_out)
        return due_at

    async def look(self, wrote_at: float, groups_out: int) -> None:
        """Look, if a look is due or somebody has given the hint. Raises ClaimLost where the claim is over.

        Whoever ended the task under this claim need only say so: with six calls out there is no connection for a look.
        A look that gets no answer in time says nothing: calls that are out are paid for, and the run goes on.
        """
        given = self.hint.take()
        if given is not None and given >= self._claim.fence:
            self._log("let_go", told=True)
            raise ClaimLost
        hinted = given is not None and self._allowance.allows_look(groups_out)
        if not hinted and clock.now() < self.next_at(wrote_at, groups_out):
            return
        seconds = start_seconds(self._latency.seconds(clock.now()))
        goes_on, answered = True, True
        try:
            async with asyncio.timeout(seconds):
                goes_on = await self._store.stands(self._claim)
        except (StoreError, TimeoutError) as error:
            answered = False
            self._log("look_failed", error=type(error).__name__)
        self._spacing.looked(clock.now(), answered=answered)
        if not goes_on:
            self._log("let_go")
            raise ClaimLost
