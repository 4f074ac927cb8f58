"""What isolates tell each other of a tenant's latest calls with one model, while some fail.

A run tells it with a write that it makes anyway, and hears it with its claim and with each write. It asks only if a
failure may count and no other call of its own isolate tells: once before the failed call goes out again.
"""

import asyncio

from ...core.errors import StoreError
from ...core.latest_calls import LatestCall
from ...core.news import News
from ...core.pace import Latency, start_seconds
from ...store.claims import Claim, Told
from ...store.tasks import TaskStore
from .. import clock
from ..allowance import Allowance
from ..log import Log


class Hearsay:
    """One run's part in it. `news` and `latency` are the isolate's; the claim was granted at `granted_at`."""

    def __init__(
        self,
        claim: Claim,
        news: News,
        store: TaskStore,
        allowance: Allowance,
        latency: Latency,
        *,
        model: str,
        granted_at: float,
        log: Log,
    ) -> None:
        self._claim = claim
        self._news = news
        self._store = store
        self._allowance = allowance
        self._latency = latency
        self._model = model
        self._granted_at = granted_at
        self._log = log
        if claim.told is not None:
            self.hear(claim.told)

    def tell(self, groups_out: int) -> Told | None:
        """Give what the next write is to tell: what no run of this isolate has told, if some calls fail of late."""
        news, now = self._news, clock.now()
        if not (news.untold and news.is_mixed(now) and self._allowance.allows_look(groups_out)):
            return None
        calls = tuple(call._replace(at=self._at_ms(call.at)) for call in news.calls)
        return Told(calls, self._at_ms(news.trouble.failure_at))

    def was_told(self) -> None:
        """Take note that the write has landed."""
        self._news.untold = False

    def hear(self, told: Told) -> None:
        """Take in what others have told."""
        calls = [LatestCall(call.chunk, self._at(call.at), call.succeeded) for call in told.calls]
        self._news.told(calls, self._at(told.failed_ms), clock.now())

    async def ask(self, groups_out: int) -> None:
        """Read what others have told. Without an answer in time nothing is known, and the run goes on."""
        if not self._allowance.allows_look(groups_out):
            return
        try:
            async with asyncio.timeout(start_seconds(self._latency.seconds(clock.now()))):
                told = await self._store.told(self._claim.task_key, self._model)
        except (StoreError, TimeoutError) as error:
            self._log("ask_failed", error=type(error).__name__)
            return
        if told is not None:
            self.hear(told)

    def _at_ms(self, at: float) -> int:
        return self._claim.claimed_ms + round((at - self._granted_at) * 1000)

    def _at(self, at_ms: float) -> float:
        return self._granted_at + (at_ms - self._claim.claimed_ms) / 1000
