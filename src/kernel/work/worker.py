"""The task actor's worker: a host calls `Worker.run` with a task's key, and acts on the outcome."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from ..calls import clock
from ..calls.caller import LocalCaller, ModelCaller
from ..calls.pace import rests, start_seconds
from ..calls.protocol import Provider
from ..domain import limits
from ..domain.errors import StoreError
from ..domain.ids import TaskKey, split_task_key
from ..domain.marks import LAST_STEP
from ..domain.prices import priced_models
from ..domain.task import Kind, Mark, Route
from ..run.allowance import Allowance
from ..run.context import Ended, Hint, RunContext, RunOutcome
from ..run.invocation import Invocation
from ..run.kinds import GateMaker, Kinds, PromptMaker, RuleMaker, TaskKind
from ..run.log import Log
from ..run.run import Run
from ..run.text_inputs import TEXT
from ..run.waits import OVERDUE, Terms
from ..store.claims import Claim, ClaimRefusal, Unclaimed


class Host(NamedTuple):
    """What a host tells its worker: its route, how long a run may last, and how host and run exchange notices."""

    route: Route
    seconds: float  # For how many seconds a run may start calls.
    # The name of a host whose own next claim may take over its last claim before the lease ends; empty for other hosts.
    name: str = ""
    # A function that returns the caller that makes a task's model calls, or None if the worker makes the calls itself.
    caller_for: Callable[[Claim], ModelCaller | None] = lambda claim: None
    slack_seconds: float = 0.0  # The most seconds that calls may travel to the caller's lanes, and their answer back.
    stands_in: bool = False  # True if the run works in place of a host that has not answered the task's dispatches.
    # False if the host sends webhook deliveries itself, when its invocation makes no more model calls: of the six
    # connections of an invocation, receivers that hang would take five from the next task's calls.
    delivers: bool = True
    hint: Hint | None = None  # The notice that the host gives when the task may have ended, if it gives any.
    # A function that gets the mark of each write, also at the end of the run, and whether the task has ended.
    wrote: Callable[[Mark, bool], None] = lambda mark, ended: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker(Invocation):
    """Runs tasks in one invocation, with one provider of models."""

    provider: Provider
    kinds: Kinds = MappingProxyType({})
    rules: Sequence[RuleMaker] = ()
    prompts: Sequence[PromptMaker] = ()
    gate: GateMaker | None = None  # It makes the gate of a claim's calls.

    async def run(self, task_key: TaskKey, host: Host) -> RunOutcome:
        """Claim the task, and work until its end or the end of the host's allowance. Raises StoreError."""
        asked_at = clock.now()
        may_start = start_seconds(self.isolate.latency.seconds(asked_at))
        allowance = Allowance(host.seconds, self.settings.subrequests, self.settings.statements, self.meter, asked_at)
        affordable = allowance.affordable_calls(asked_at, limits.CHUNKS_MOST, 0, 1)
        concurrency = self.settings.concurrency
        # The claim reads the text of more chunks than the affordable calls need, because calls that are recorded
        # together cost less than the allowance assumes.
        chunks = max(affordable + concurrency, limits.WINDOW_CHUNKS_LEAST)
        announce = min(affordable, self._width(task_key, asked_at))
        claim = await self._claim(task_key, host, may_start, announce, chunks)
        if isinstance(claim, Unclaimed):
            self.log("unclaimed", task=task_key, route=host.route, standing=claim.standing, left_ms=claim.left_ms)
            if claim.standing is ClaimRefusal.OVERDUE:
                await self.store.expire([task_key], OVERDUE, self.settings.retention_ms)
                if host.delivers:
                    self.begin_after_ends()
            return claim
        log = self.log.bind(task=task_key, route=host.route, fence=claim.fence)
        log("claimed", attempt=claim.attempts, done=len(claim.outputs), doubted=len(claim.doubted), stalls=claim.stalls)
        outcome = None
        try:
            self._tell(claim, host, claim.step)
            context = self._context(claim, host, allowance, asked_at=asked_at, may_start=may_start, log=log)
            outcome = await Run(context).work()
        finally:
            ended = isinstance(outcome, Ended)
            self.isolate.marks.left(task_key, claim.fence, ended=ended)
            host.wrote(Mark(claim.fence, LAST_STEP), ended)
        if ended and context.kind.after_end is not None:
            await context.kind.after_end(self, task_key)
        if host.delivers:
            self.begin_after_ends()
        facts = {"outcome": type(outcome).__name__.lower(), "status": getattr(outcome, "status", None)}
        log("run_ended", **facts, **self.meter.facts())
        return outcome

    def _tell(self, claim: Claim, host: Host, step: int) -> None:
        """Notify clients that wait for the task, in this isolate or at this host, that a write has taken effect."""
        mark = Mark(claim.fence, step)
        self.isolate.marks.wrote(claim.task_key, mark, clock.now() + self.settings.lease_seconds)
        host.wrote(mark, False)

    async def may_stand_in(self, task_key: TaskKey) -> bool:
        """Whether the worker may stand in for the task's host: not while it waits for a slot. Raises StoreError."""
        most = self.settings.objects_at_work_most
        return most is None or await self.store.may_stand_in(task_key, most)

    @property
    def can_afford_run(self) -> bool:
        """Whether the rest of the invocation's allowance suffices for a run: a claim, a call, and a last write."""
        settings, meter = self.settings, self.meter
        left = min(settings.subrequests - meter.subrequests_taken, settings.statements - meter.statements_taken)
        return left >= limits.RUN_LEAST

    @property
    def _model(self) -> str:
        return self.settings.model or self.provider.default_model

    def _width(self, task_key: TaskKey, now: float) -> int:
        """Return how many calls a task may announce with its claim.

        0 if the database is nearly full, because there may be no space for the outputs, or if the model is away,
        because the one call that probes it is announced later.
        """
        settings = self.settings
        if self.isolate.storage.is_tight(settings.storage_bytes_most):
            return 0
        if not settings.patience_seconds:
            return settings.concurrency
        health = self.isolate.health.of(split_task_key(task_key)[0], self._model)
        return 0 if health.is_away(now) else health.width(settings.concurrency, now)

    async def _claim(
        self, task_key: TaskKey, host: Host, may_start: float, announce: int, chunks: int
    ) -> Claim | Unclaimed:
        """Claim the task. The calls that the claim announces must start within `may_start` seconds."""
        asked_at = clock.now()
        seen = self.isolate.heartbeats.due(host.route, asked_at)
        try:
            claim = await self.store.claim(
                task_key,
                holder=self.nonce(),
                host=host.name,
                route=host.route,
                lease_ms=self.settings.claim_ms(host.slack_seconds, may_start),
                start_ms=round(may_start * 1000),
                announce=announce,
                rests=rests(self.settings.max_attempts),
                stands_in=host.stands_in,
                seen=seen,
                chunks=chunks,
                model=self._model,
                priced=() if self.gate is None else priced_models(self.settings.prices),
            )
        except StoreError:
            self.isolate.latency.note_failure(clock.now() - asked_at, clock.now())
            raise
        self.isolate.latency.note(clock.now() - asked_at, clock.now())
        if seen is not None:
            self.isolate.heartbeats.written(seen, asked_at)
        return claim

    def _context(
        self, claim: Claim, host: Host, allowance: Allowance, *, asked_at: float, may_start: float, log: Log
    ) -> RunContext:
        caller = host.caller_for(claim) or LocalCaller(self.provider, self.settings.concurrency)
        assert caller.slack_seconds <= host.slack_seconds
        granted_at, model = clock.now(), claim.options.model or self._model
        return RunContext(
            claim=claim,
            store=self.store,
            settings=self.settings,
            log=log,
            route=host.route,
            caller=caller,
            slack_seconds=host.slack_seconds,
            model=model,
            default_model=self._model,
            kind=self.kind_of(claim.kind),
            rules=[rule for make in self.rules if (rule := make(claim, self.settings)) is not None],
            prompt=next((prompt for make in self.prompts if (prompt := make(claim)) is not None), None),
            gate=None if self.gate is None else self.gate(claim, self.settings, model, log),
            terms=Terms(claim, asked_at, granted_at),
            allowance=allowance,
            health=self.isolate.health.of(split_task_key(claim.task_key)[0], model),
            asked_at=asked_at,
            granted_at=granted_at,
            start_seconds=may_start,
            hint=host.hint,
            wrote=partial(self._tell, claim, host),
            invocation=self,
        )

    def kind_of(self, kind: Kind | None) -> TaskKind:
        """Return what the chunks of a kind of tasks are."""
        return TEXT if kind is None else self.kinds[kind]()
