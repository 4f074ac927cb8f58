"""Exchanges the outcomes of a tenant's latest calls to one model between isolates, while some of the calls fail.

A run sends the outcomes of its isolate's latest calls with a write that it makes anyway. It receives those of other
isolates with its claim and with each write. It reads them separately only if its own isolate's calls do not decide
whether a failure counts as an attempt: once, before the failed call is repeated.
"""

import asyncio

from ..calls import clock
from ..calls.model_health import LatestCall
from ..calls.pace import start_seconds
from ..domain.errors import StoreError
from ..store.claims import SharedCalls
from .context import RunContext


class HealthExchange:
    """Exchanges the outcomes of the latest calls with other isolates, for one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._health = context.health
        self._database_clock = clock.DatabaseClock(context.claim.claimed_ms, context.granted_at)
        if context.claim.shared is not None:
            self.receive(context.claim.shared)

    def to_send(self, groups_out: int) -> SharedCalls | None:
        """Return the outcomes of the latest calls for the next write, if some calls fail and they were not sent yet."""
        health, now = self._health, clock.now()
        if not (health.unshared and health.is_mixed(now) and self._context.allowance.allows_read(groups_out)):
            return None
        ms = self._database_clock.ms
        calls = tuple(call._replace(at=ms(call.at)) for call in health.calls)
        return SharedCalls(calls, ms(health.absence.failure_at))

    def sent(self) -> None:
        """Note that the write with the latest outcomes has taken effect."""
        self._health.unshared = False

    def receive(self, shared: SharedCalls) -> None:
        """Take in the outcomes of calls that other isolates have written to the database."""
        moment = self._database_clock.moment
        calls = [LatestCall(call.chunk, moment(call.at), call.succeeded) for call in shared.calls]
        self._health.shared(calls, moment(shared.failed_ms), clock.now())

    async def ask(self, groups_out: int) -> None:
        """Read other isolates' latest outcomes. If that takes too long, the run goes on without them."""
        context = self._context
        if not context.allowance.allows_read(groups_out):
            return
        try:
            async with asyncio.timeout(start_seconds(context.invocation.isolate.latency.seconds(clock.now()))):
                shared = await context.store.shared_calls(context.claim.task_key, context.model)
        except (StoreError, TimeoutError) as error:
            context.log("ask_failed", error=type(error).__name__)
            return
        if shared is not None:
            self.receive(shared)
