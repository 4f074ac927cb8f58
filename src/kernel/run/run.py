"""The work under one claim: make model calls, record them, merge outputs, and end or release the task.

A run keeps as many calls in flight as its caller accepts. One transaction in D1 records the calls that have ended and
announces the calls that will start next. The platform may kill a run's worker at any await. The task's next claim finds
every recorded output, and the announced calls without an outcome, which count as in doubt.
"""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial

from ..calls import clock
from ..calls.pace import idle_seconds
from ..domain import limits
from ..domain.errors import CallAborted, CapRefused, StoreFull, StoreUnavailable
from ..domain.task import Route, Status
from ..store.claims import Also, CallKey, Continue, Ending, Fail, Finish, Next, Release
from .call_groups import CallGroups
from .call_plan import CallPlan
from .call_recorder import CallRecorder
from .call_scheduler import CallScheduler
from .claim_checks import ClaimChecks
from .context import ClaimLost, Ended, Lost, Released, RunContext, RunOutcome, crashed, patience_of
from .health_exchange import HealthExchange
from .kinds import CallGate
from .ledger import Ledger
from .waits import OVERDUE, because, exhausted
from .write_pacer import StorageGuard, WritePacer


class Run:
    """The work under one claim. The worker calls only the method `work` of a `Run`, and calls it once.

    No part of a run refers back to the run or to the part that has it: what a part needs of them is passed when it is
    needed. So the memory of a run is free when the run ends, not at some later garbage collection. A run of 20,000
    chunks takes some megabytes, a task may take many runs, and WebAssembly's memory never shrinks.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._kind = kind = context.kind
        self._claim = context.claim
        self._caller = context.caller
        self._terms = context.terms
        self._allowance = context.allowance
        self._store = context.store
        self._settings = settings = context.settings
        self._log = context.log
        self._pacer = WritePacer(context)
        self._exchange = HealthExchange(context)
        self._storage = StorageGuard(context)
        self._ledger = Ledger(
            context.claim,
            settings.max_attempts,
            patience_of(context),
            context.granted_at,
            reasks=settings.reasks,
            always_gaps=kind.always_gaps,
            segment_chars=kind.segment_chars,
            gate=context.gate,
        )
        self._checks = ClaimChecks(context)
        self._plan = CallPlan(context.claim)
        self._inputs = kind.inputs(context, self._plan, self._pacer, self._ledger)
        self._recorder = CallRecorder(context, self._ledger, self._inputs)
        self._calls = CallGroups(context.caller, self._inputs.message, context.settings.timeout_seconds)
        self._scheduler = CallScheduler(context, self._calls, self._ledger)
        self._is_stale = False  # Whether the tenant has got a cap since the claim.
        # Whether the row may show a wait: the model was away before, or the last run started no call.
        self._wait_written = context.claim.away_ms is not None or context.claim.idle_runs > 0

    async def work(self) -> RunOutcome:
        """Do the run's work, and if possible record in D1 how the claim ends."""
        try:
            outcome = await self._work()
        finally:
            self._inputs.close()
        return await Run(outcome).work() if isinstance(outcome, RunContext) else outcome

    async def _work(self) -> RunOutcome | RunContext:
        try:
            try:
                return await self._until_end()
            except ClaimLost:
                self._log("claim_lost", in_flight=self._ledger.in_flight)
                status = await self._settle()
                return Lost() if status is None else Ended(status)
        except StoreFull:
            await self._calls.drop()
            back = self._back(limits.STORAGE_PAUSE_SECONDS)
            progress = self._ledger.progress((), self._plan.minimum_calls, clock.now())
            given_back = await self._store.stand_down(self._claim, progress, back)
            return Released(limits.STORAGE_PAUSE_SECONDS) if given_back else Lost()
        except StoreUnavailable:
            await self._calls.drop()
            raise  # no write of the run is possible, so the sweep continues the task when the lease runs out
        except Exception:
            await self._drop()
            self._ledger.stalled()
            delay_ms = 0 if self._ledger.finished else self._terms.rest_ms(clock.now())
            with suppress(ClaimLost):
                await self._write((), Release(delay_ms, delay_ms or self._settings.lease_ms))
            raise

    async def _until_end(self) -> RunOutcome | RunContext:
        found = await self._prepare()
        if isinstance(found, RunContext):
            return found
        if found is not None:
            return await self._end(found)
        await self._begin()
        while True:
            now = clock.now()
            if now >= self._terms.deadline_latest:
                return await self._overdue()
            self._ledger.settle(now)
            starting = self._inputs.within(self._scheduler.starting(now))
            if self._ledger.retries.held.unasked(starting):
                self._ledger.retries.held.asked()
                await self._exchange.ask(self._calls.groups_out)
                continue
            # No call starts before the pacer allows a write, which then records all calls that have ended.
            writes_at = self._pacer.ready_at(now) if starting or self._ledger.unsaved else now
            if writes_at > now:
                starting = []
            lacking = self._inputs.lacks(starting)
            if lacking is not None:
                await self._read(lacking, now)
                continue
            starting = await self._affordable(starting, now)
            ending = None if starting or self._ledger.in_flight else self._ending(now, writes_at)
            if ending is not None:
                return await self._end(ending)
            wanted = starting or self._ledger.unsaved or self._has_unwritten_wait(now)
            if writes_at <= now and wanted and not await self._go_on(starting):
                continue
            self._start(starting)
            await self._wait(writes_at)
            await self._advance()

    async def _affordable(self, starting: list[CallKey], now: float) -> list[CallKey]:
        """Return the first of the calls, as many as the task's caps allow. Their inputs are in memory."""
        gate = self._context.gate
        if gate is None:
            return starting
        affordable = gate.within(starting, self._ledger.out, self._inputs.message)
        if gate.looks:
            await self._look(gate)
            affordable = gate.within(starting, self._ledger.out, self._inputs.message)
        if gate.polls:  # for the tenant's other calls to end
            self._ledger.wait_for_cost(now + min(limits.CAP_SPREAD_SECONDS, idle_seconds(self._ledger.idle_runs)))
        elif gate.pause is not None:  # tasks go on one after the other
            spread = limits.CAP_SPREAD_SECONDS * self._context.invocation.chance()
            self._ledger.wait_for_cost(now + gate.pause + spread)
        return affordable

    async def _look(self, gate: CallGate) -> None:
        """Look at what is left of the tenant's month, after all that has ended is saved."""
        await self._save()
        await self._pacer.with_retries(partial(gate.look, self._store, self._ledger.out), writes=False)

    async def _refused(self) -> None:
        """Take back a wave that the tenant's cap has refused. A claim from before the cap is given up."""
        self._log("cost_limit", in_flight=self._ledger.in_flight)
        self._ledger.given_up()
        self._pacer.refund()
        gate = self._context.gate
        if gate is not None and self._claim.capped:
            await self._look(gate)
        else:
            self._is_stale = True
            self._ledger.wait_for_cost(clock.now() + limits.PRICE_WAIT_SECONDS)

    async def _begin(self) -> None:
        """Add the calls that are not done to the ledger, and start the calls that the claim has announced."""
        self._ledger.leave_out(self._plan.missing_below(self._claim.outputs))
        self._add_top()
        announced = self._ledger.first(len(self._claim.announced))
        assert set(announced) == self._claim.announced
        if not self._storage.tight:  # otherwise the write that checks for space announces these calls again
            self._start(announced)
        await self._advance()

    async def _prepare(self) -> Ending | RunContext | None:
        """Return how the claim ends before any call, or the context of a run that goes on; None if this run does."""
        if self._claim.stalls >= self._settings.max_attempts:
            failure = self._ledger.failure or crashed(self._claim.stalls)
            return Fail(self._settings.retention_ms, failure)
        return await self._inputs.prepare(self._record)

    def _has_unwritten_wait(self, now: float) -> bool:
        """Whether to write that the run waits for a model that is away, as the task's row does not show this yet."""
        if self._wait_written or self._ledger.in_flight or not self._ledger.patience.narrow(now):
            return False
        return self._pacer.ready_at(now) <= now

    async def _advance(self) -> None:
        """Plan the next level of merges when all calls of the level below it have ended."""
        # The calls start in order, so a look that begins with the last one ends at once in most cases.
        while not self._plan.complete and self._ledger.all_done(reversed(self._plan.keys())):
            if self._ledger.failure is not None:
                return  # the task must fail: all of its chunks have failed, or too many of them
            self._plan.add_level(() if self._plan.inherits else await self._inputs.sizes(self._save))
            self._add_top()

    def _add_top(self) -> None:
        """Add the calls of the top level to the ledger, except merges all of whose inputs are gaps."""
        self._ledger.leave_out(self._plan.leave_out(self._ledger.left_out))
        self._ledger.add(self._plan.keys())

    # --- the end -----------------------------------------------------------------------------------------

    def _ending(self, now: float, writes_at: float) -> Ending | None:
        """Return how the claim ends while no call is in flight; None if the run continues after a short wait."""
        retention_ms = self._settings.retention_ms
        self._ledger.give_up(now)
        if self._ledger.failure is not None:
            return Fail(retention_ms, self._ledger.failure)
        gate = self._context.gate
        if gate is not None and (spent := gate.failure) is not None:
            return Fail(retention_ms, spent._replace(message=spent.message + because(self._ledger.last_error)))
        next_at = self._ledger.next_at(now)
        if next_at is None:
            has_gaps = self._kind.always_gaps or len(self._ledger.gaps) > 0
            return Finish(
                retention_ms,
                self._plan.top,
                self._settings.keep_input,
                self._settings.keep_names and self._claim.options.first_line_names,
                gaps=has_gaps,
                may_be_empty=self._kind.may_be_empty,
            )
        if self._claim.options.max_calls is not None and not self._terms.calls_left(self._ledger.sent):
            return Fail(retention_ms, exhausted(self._claim.options.max_calls, self._ledger.last_error))
        if self._terms.forbids_start(now):
            return None
        return self._giving_back(now, max(0.0, next_at - now), writes_at)

    def _giving_back(self, now: float, wait: float, writes_at: float) -> Release | None:
        """Return how a task that must wait for `wait` seconds is released; None if the run itself waits."""
        if self._is_stale:
            return self._back(0)
        if self._context.gate is not None and self._context.gate.polls:
            self._ledger.idled()
            return self._back(wait)
        idle = self._ledger.fruitless >= limits.FRUITLESS_MOST or writes_at > now
        # several waits for the model may follow one another without a write that renews the claim
        silent = now - self._pacer.announced_at if self._ledger.patience.narrow(now) else 0.0
        short = wait + silent < self._settings.lease_seconds / 2
        if not idle and short and self._scheduler.sits_out(wait, now):
            return None
        # A run whose time was over before a call could start is as idle as one whose announced calls did not start.
        if idle or (not self._ledger.ended and (self._ledger.fruitless or not wait)):
            wait = max(wait, idle_seconds(self._ledger.idle_runs))
            self._ledger.idled()
            self._log("run_idle", idle_runs=self._ledger.idle_runs, delay_seconds=wait)
        else:
            wait = self._scheduler.returns_in(wait, now)
        return self._back(wait)

    def _back(self, seconds: float) -> Release:
        delay_ms = round(seconds * 1000)
        # When the sweep may dispatch the task: on the direct route after the delay, because there no host continues the
        # task. On any other route, the host has the time of one more lease to continue the task.
        return Release(delay_ms, delay_ms + (0 if self._context.route is Route.DIRECT else self._settings.lease_ms))

    async def _end(self, ending: Ending) -> RunOutcome:
        await self._write((), ending)
        if not isinstance(ending, Release):
            return Ended(Status.COMPLETED if isinstance(ending, Finish) else Status.FAILED)
        seconds = ending.delay_ms / 1000
        return Released(seconds) if seconds < limits.HOST_WAIT_SECONDS_MOST else Lost()

    async def _overdue(self) -> RunOutcome:
        """End the task at its deadline, even if calls are in flight."""
        self._log("overdue", in_flight=self._ledger.in_flight)
        status = await self._settle()
        if status is None:  # the database's clock has not reached the deadline; the next run ends the task
            return await self._end(Release(0, self._settings.lease_ms))
        return Ended(status)

    async def _settle(self) -> Status | None:
        """Write the bill and the paid outputs of a task that was ended by a client or by its deadline.

        A worker without lanes cancels its calls in flight. Lanes abort their calls before the bill is written, so that
        a slow database does not prolong unwanted calls. A second write records outputs from lanes that cannot be
        reached, and of a kind whose calls are awaited. If another claim has the task, the calls remain in doubt.
        """
        if self._caller.slack_seconds or self._kind.awaits_calls:
            await self._recorder.record(self._calls.ended())
            if self._ledger.in_flight and not self._kind.awaits_calls:
                await self._caller.abort()
        else:
            await self._drop()
            self._ledger.abandon()
        status = await self._write_settlement()
        if status is not None and self._ledger.in_flight:
            self._ledger.saved()
            late = await self._calls.remaining()
            await self._recorder.record([call for call in late if not isinstance(call.result, CallAborted)])
            self._ledger.abandon()
            return await self._write_settlement() or status
        if self._ledger.in_flight and self._kind.awaits_calls:  # another claim has the task, or it is erased
            await self._caller.abort()
        await self._drop()
        self._ledger.abandon()
        return status

    async def _drop(self) -> None:
        """Cancel the calls in flight. Calls that ended earlier, for example during a write, are recorded."""
        await self._recorder.record(await self._calls.drop())

    async def _write_settlement(self) -> Status | None:
        """Write the progress of an ended task, and return its status; None if it has not ended.

        This write does not wait for its turn: the host would be held for it, and a claim settles only once or twice.
        """
        progress = self._ledger.progress((), self._plan.minimum_calls, clock.now())
        settle = partial(self._store.settle, self._claim, progress, OVERDUE, self._settings.retention_ms)
        return await self._pacer.with_retries(settle, at_once=True)

    # --- writes ------------------------------------------------------------------------------------------

    async def _go_on(self, starting: list[CallKey]) -> bool:
        """Write, and announce calls. False: they may not start, as there is no space for their outputs."""
        if not starting:
            await self._write((), self._continue())
            return True
        room_bytes = self._storage.room_for(self._ledger.in_flight + len(starting))
        write = self._write(starting, self._continue(room_bytes))
        try:
            if not await self._storage.announce(write, self._ledger, room_bytes):
                return False
        except CapRefused:
            await self._refused()
            return False
        # If D1's reply says nearly full, the calls are announced again in a write that checks for space.
        return room_bytes > 0 or not self._storage.tight

    def _continue(self, room_bytes: int = 0) -> Continue:
        """Renew the claim for as long as the announced calls may take, including the time that they have to start."""
        seconds = self._pacer.next_start_seconds()
        lease_ms = self._settings.claim_ms(self._context.slack_seconds, seconds)
        return Continue(lease_ms, round(seconds * 1000), room_bytes)

    async def _record(self, also: Also, minimum_calls: int | None = None) -> None:
        """Write progress, and in the same transaction what the inputs of the run add."""
        self._ledger.read_on()
        await self._write((), self._continue(), also, minimum_calls)

    async def _write(
        self, starting: Sequence[CallKey], then: Next, also: Also | None = None, minimum_calls: int | None = None
    ) -> None:
        """Write progress and `also`, in one transaction, repeated while the lease lasts: outputs are paid."""
        shared = None if self._storage.tight else self._exchange.to_send(self._calls.groups_out)
        least = self._plan.minimum_calls if minimum_calls is None else minimum_calls
        progress = self._ledger.progress(starting, least, clock.now(), self._plan.unsaved, shared)
        if also is None:
            also = self._inputs.also(progress.outputs)
        gate = self._context.gate
        if isinstance(then, Release) and gate is not None and (again := gate.wake_again()) is not None:
            also = also._replace(asks=again)
        model, receive = self._context.model, self._exchange.receive

        def write() -> Awaitable[bool]:
            self._pacer.announced_at = clock.now()
            return self._store.step(self._claim, progress, then, sends=1, model=model, receive=receive, also=also)

        if not await self._pacer.with_retries(write, when_full=not starting):
            raise ClaimLost
        if shared is not None:
            self._exchange.sent()
        self._wait_written = True
        self._context.wrote(progress.step)
        self._ledger.saved()
        self._inputs.recorded(progress.outputs)
        self._plan.saved()

    async def _save(self) -> None:
        if self._ledger.unsaved:
            await self._write((), self._continue())

    # --- calls -------------------------------------------------------------------------------------------

    def _start(self, keys: list[CallKey]) -> None:
        self._ledger.start(keys, clock.now())
        starts_by = self._terms.starts_by(self._pacer.announced_at, self._pacer.start_seconds)
        if not self._caller.slack_seconds:  # a call without lanes must start within the seconds of the run itself
            starts_by = min(starts_by, self._allowance.latest_start)
        self._allowance.spend(self._calls.start(keys, starts_by, in_parts=self._scheduler.in_parts))

    async def _read(self, key: CallKey, now: float) -> None:
        """Read the input of a call, and of as many calls after it as the run may still make."""
        # A merge's outputs must be saved. A bucket may be slow, so those that waited for long come first.
        if key.level or (self._kind.reads_files and now >= self._pacer.renews_by):
            await self._save()
        calls = self._scheduler.affordable(now, limits.CHUNKS_MOST)
        reading = self._inputs.read(key, calls + self._settings.concurrency, self._ledger.lacks)
        if self._kind.reads_files:
            self._allowance.spend(await self._calls.beside(reading))
        else:
            await reading

    async def _wait(self, writes_at: float) -> None:
        """Wait until calls end, a call or write may start, a check is due, or the deadline."""
        work = self._inputs.beside(self._calls.groups_out, self._record)
        if work is not None:
            self._allowance.spend(await self._calls.beside(work))
        now = clock.now()
        deadline_latest, wake_at = self._terms.deadline_latest, self._ledger.next_at(now)
        out, last = self._ledger.in_flight > 0, wake_at is None
        if wake_at is None or self._terms.forbids_start(now) or (out and (self._calls.free == 0 or wake_at <= now)):
            wake_at = deadline_latest
        if not out and self._ledger.patience.narrow(now):  # this run may learn from another task that the model is back
            wake_at = min(wake_at, max(now, writes_at) + limits.AWAY_LOOK_SECONDS)
        if writes_at > now:
            wake_at = writes_at
        self._allowance.spend(self._calls.resume(in_parts=self._scheduler.in_parts))
        wrote_at, ended = self._pacer.announced_at, self._ledger.ended
        check_at = self._checks.next_at(wrote_at, self._calls.groups_out)
        wake_at = min(wake_at, deadline_latest, check_at, self._scheduler.widens_at(now))
        hint = self._checks.hint.awaited()
        slow = self._context.invocation.isolate.latency.seconds(now)
        ended_calls = await self._calls.wait(wake_at, hint, last=last, deadline=deadline_latest, write_seconds=slow)
        await self._recorder.record(ended_calls)
        self._pacer.earn(self._ledger.ended - ended)
        await self._checks.check(wrote_at, self._calls.groups_out)
