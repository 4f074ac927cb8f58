"""Exchanges a tenant's latest calls with one model between isolates, while some of these calls fail.

A run sends them with a write that it makes anyway, and receives them with its claim and with each write. A run makes an
extra read only if a failure may count and its own isolate's calls do not decide it: once, before the failed call is
repeated.
"""

import asyncio

from ...core.calls.latest_calls import LatestCall
from ...core.calls.pace import start_seconds
from ...core.errors import StoreError
from ...store.records.claims import LatestCallsReport
from .. import clock
from .context import RunContext


class Gossip:
    """One run's part in the exchange."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._news = context.news
        self._database_clock = clock.DatabaseClock(context.claim.claimed_ms, context.granted_at)
        if context.claim.told is not None:
            self.receive(context.claim.told)

    def to_send(self, groups_out: int) -> LatestCallsReport | None:
        """Give what the next write is to tell, if some calls fail of late: what no run of this isolate has told."""
        news, now = self._news, clock.now()
        if not (news.untold and news.is_mixed(now) and self._context.allowance.allows_read(groups_out)):
            return None
        ms = self._database_clock.ms
        calls = tuple(call._replace(at=ms(call.at)) for call in news.calls)
        return LatestCallsReport(calls, ms(news.trouble.failure_at))

    def sent(self) -> None:
        """Record that the write has landed."""
        self._news.untold = False

    def receive(self, told: LatestCallsReport) -> None:
        """Record what other isolates have written."""
        moment = self._database_clock.moment
        calls = [LatestCall(call.chunk, moment(call.at), call.succeeded) for call in told.calls]
        self._news.told(calls, moment(told.failed_ms), clock.now())

    async def ask(self, groups_out: int) -> None:
        """Read what other isolates have written. Without an answer in time the run continues with what it knows."""
        context = self._context
        if not context.allowance.allows_read(groups_out):
            return
        try:
            async with asyncio.timeout(start_seconds(context.latency.seconds(clock.now()))):
                told = await context.store.told(context.claim.task_key, context.model)
        except (StoreError, TimeoutError) as error:
            context.log("ask_failed", error=type(error).__name__)
            return
        if told is not None:
            self.receive(told)
