"""The task actor's worker, as its hosts see it: it claims a task and works on it for one run (`run`).

The behaviour is the same for every route. A host calls `Worker.run` with a task's key, and does what the outcome says.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..core.ids import TaskKey
from ..core.meter import Meter
from ..core.settings import Settings
from ..core.task import Route
from ..inference.protocol import Provider
from ..store.claims import Claim, Standing, Unclaimed
from ..store.tasks import TaskStore
from . import clock
from .allowance import Allowance
from .caller import Caller, LocalCaller
from .log import Log
from .outcomes import Outcome
from .run import Run
from .terms import OVERDUE, Terms


@dataclass(frozen=True, slots=True)
class Host:
    """Where a worker runs, and for how long it may. `name` is set for a host that replaces itself, else ''.

    `caller_for` may name others who make a task's calls, on a way that takes up to `slack_seconds`. Where it gives
    None, the worker makes the calls itself.
    """

    route: Route
    seconds: float
    name: str = ""
    caller_for: Callable[[Claim], Caller | None] = lambda claim: None
    slack_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs tasks with one store and one provider. `chance` gives numbers from 0 to 1, `nonce` fresh names."""

    store: TaskStore
    provider: Provider
    settings: Settings
    meter: Meter
    chance: Callable[[], float]
    nonce: Callable[[], str]
    log: Log

    async def run(self, task_key: TaskKey, host: Host) -> Outcome:
        """Work on the task until it ends or the host's allowance does. Raises StoreError, and what is unexpected."""
        asked_at = clock.now()
        allowance = Allowance(host.seconds, self.settings.subrequests, self.settings.statements, self.meter, asked_at)
        claim = await self.store.claim(
            task_key,
            holder=self.nonce(),
            host=host.name,
            route=host.route,
            lease_ms=self.settings.claim_ms(host.slack_seconds),
            announce=allowance.room(asked_at, self.settings.concurrency, 0, 1),
        )
        if isinstance(claim, Unclaimed):
            self.log("unclaimed", task=task_key, route=host.route, standing=claim.standing, left_ms=claim.left_ms)
            if claim.standing is Standing.OVERDUE:
                await self.store.expire([task_key], OVERDUE, self.settings.retention_ms)
            return claim
        log = self.log.bind(task=task_key, route=host.route, fence=claim.fence)
        log("claimed", attempt=claim.attempts, done=len(claim.outputs), doubted=len(claim.doubted), stalls=claim.stalls)
        outcome = await self._run(claim, host, allowance, asked_at, log).work()
        log(
            "run_ended",
            outcome=type(outcome).__name__.lower(),
            status=getattr(outcome, "status", None),
            **self.meter.facts(),
        )
        return outcome

    def _run(self, claim: Claim, host: Host, allowance: Allowance, asked_at: float, log: Log) -> Run:
        caller = host.caller_for(claim) or LocalCaller(self.provider, self.settings.concurrency)
        assert caller.slack_seconds <= host.slack_seconds
        return Run(
            claim,
            caller,
            Terms(claim, asked_at, clock.now()),
            allowance,
            store=self.store,
            settings=self.settings,
            model=self.settings.model or self.provider.default_model,
            claim_ms=self.settings.claim_ms(host.slack_seconds),
            sweep_soon=host.route is Route.DIRECT,
            announced_at=asked_at,
            chance=self.chance,
            log=log,
        )
