"""One claim's work: infer, checkpoint, reduce, finish.

A run keeps as many calls out as its caller takes, and writes to D1 in groups: one transaction records the calls that
ended and announces those about to start. Anything may kill the worker between two awaits. The next claim then finds
every finished output that was recorded. It finds the calls that were out as announced ones, and they are in doubt.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ...core import limits
from ...core.errors import StoreFull, StoreUnavailable
from ...core.pace import idle_seconds
from ...core.settings import Settings
from ...core.task import Route
from ...store.claims import CallKey, Claim, Continue, Ending, Fail, Finish, Release, Step
from ...store.tasks import TaskStore
from .. import clock
from ..allowance import Allowance
from ..caller import Caller
from ..log import Log
from ..outcomes import ClaimLost, Ended, Lost, Outcome, Released, crashed
from ..terms import Terms, exhausted
from .call_groups import Calls
from .call_inputs import Material, asking
from .call_plan import Plan
from .call_recorder import Bookings, Times
from .call_scheduler import Openings
from .claim_checks import Looks
from .gossip import Hearsay
from .ledger import Ledger
from .settlement import Settlement
from .storage_guard import Room
from .write_pacer import Pace


class Run:
    """One claim's work.

    `model` is whose calls these are. `slack_seconds` is what the way to whoever makes its calls may take.
    `route` is the one that it has come by. `announced_at` is the earliest time at which the calls that the claim
    announces were announced. `chance` gives numbers from 0 to 1. `wrote` hears the step of each write that has landed.
    """

    def __init__(
        self,
        claim: Claim,
        caller: Caller,
        terms: Terms,
        allowance: Allowance,
        pace: Pace,
        room: Room,
        ledger: Ledger,
        looks: Looks,
        hearsay: Hearsay,
        *,
        store: TaskStore,
        settings: Settings,
        model: str,
        slack_seconds: float,
        route: Route,
        announced_at: float,
        chance: Callable[[], float],
        wrote: Callable[[int], None],
        log: Log,
    ) -> None:
        self._claim = claim
        self._caller = caller
        self._terms = terms
        self._allowance = allowance
        self._pace = pace
        self._room = room
        self._store = store
        self._wrote = wrote
        self._settings = settings
        self._slack_seconds = slack_seconds
        self._sweep_soon = route is Route.DIRECT  # only the sweep brings a released task back
        self._pace.announced_at = announced_at
        # What the row says of a wait: a model that was away for the task before, or a run that started nothing.
        self._told = claim.away_ms is not None or claim.idle_runs > 0
        self._log = log
        self._plan = Plan(claim)
        self._ledger = ledger
        self._looks = looks
        self._hearsay = hearsay
        self._model = model
        self._material = Material(claim, self._plan, asking(claim.options, settings, model), store, pace, self._save)
        times = Times(claim.claimed_ms, announced_at)
        self._bookings = Bookings(self._ledger, self._material, times, chance, log)
        self._calls = Calls(caller, self._material.message, settings.timeout_seconds)
        self._openings = Openings(
            terms, allowance, caller, self._calls, ledger, concurrency=settings.concurrency, route=route
        )
        self._settlement = Settlement(
            claim, caller, self._calls, self._plan, ledger, self._bookings, pace, store, settings
        )

    async def work(self) -> Outcome:
        """Work, and leave the claim in order whatever ends the work."""
        try:
            try:
                return await self._until_end()
            except ClaimLost:
                self._log("claim_lost", in_flight=self._ledger.in_flight)
                status = await self._settlement.settle()
                return Lost() if status is None else Ended(status)
        except StoreFull:
            await self._calls.drop()
            back = self._back(limits.STORAGE_REST_SECONDS)
            progress = self._ledger.progress((), self._plan.minimum_calls, clock.now())
            given_back = await self._store.stand_down(self._claim, progress, back)
            return Released(limits.STORAGE_REST_SECONDS) if given_back else Lost()
        except StoreUnavailable:
            await self._calls.drop()
            raise  # nothing can be written; the lease runs out and the sweep brings the task back
        except Exception:
            await self._settlement.drop()
            self._ledger.stalled()
            delay_ms = 0 if self._ledger.finished else self._terms.rest_ms(clock.now())
            with suppress(ClaimLost):
                await self._step((), Release(delay_ms, delay_ms or self._settings.lease_ms))
            raise

    async def _until_end(self) -> Outcome:
        if self._claim.stalls >= self._settings.max_attempts:
            failure = self._ledger.failure or crashed(self._claim.stalls)
            return await self._end(Fail(self._settings.retention_ms, failure))
        await self._begin()
        while True:
            now = clock.now()
            if now >= self._terms.deadline_latest:
                return await self._overdue()
            self._ledger.settle(now)
            starting = self._openings.starting(now)
            if self._ledger.trials.in_question(starting):
                self._ledger.trials.asked()
                await self._hearsay.ask(self._calls.groups_out)
                continue
            # Without a turn to write nothing starts, and what ends meanwhile is recorded together.
            turn_at = self._pace.ready_at(now) if starting or self._ledger.unsaved else now
            if turn_at > now:
                starting = []
            lacking = self._material.lacks(starting)
            if lacking is not None:
                await self._read(lacking, now)
                continue
            ending = None if starting or self._ledger.in_flight else self._ending(now, turn_at)
            if ending is not None:
                return await self._end(ending)
            wanted = starting or self._ledger.unsaved or self._is_untold(now)
            if turn_at <= now and wanted and not await self._go_on(starting):
                continue
            self._start(starting)
            await self._wait(turn_at)
            await self._advance()

    async def _begin(self) -> None:
        """Take on what is to do, and start what the claim has announced."""
        self._ledger.add(self._plan.keys())
        announced = self._ledger.first(len(self._claim.announced))
        assert set(announced) == self._claim.announced
        if not self._room.tight:  # else they are announced again, with the room that they need
            self._start(announced)
        await self._advance()

    def _is_untold(self, now: float) -> bool:
        """Whether the run waits for a model that is away to others, and its task's row does not say so. Once a run."""
        if self._told or self._ledger.in_flight or not self._ledger.waits_for_model(now):
            return False
        return self._pace.ready_at(now) <= now

    async def _overdue(self) -> Outcome:
        """End the task at its deadline, whatever is in flight."""
        self._log("overdue", in_flight=self._ledger.in_flight)
        status = await self._settlement.settle()
        if status is None:  # the database's clock has not come that far: whoever is next looks again
            return await self._end(Release(0, self._settings.lease_ms))
        return Ended(status)

    def _ending(self, now: float, turn_at: float) -> Ending | None:
        """Say how the claim ends now that nothing is in flight, or None to sit out a short wait."""
        retention_ms = self._settings.retention_ms
        self._ledger.give_up(now)
        if self._ledger.failure is not None:
            return Fail(retention_ms, self._ledger.failure)
        next_at = self._ledger.next_at(now)
        if next_at is None:
            return Finish(retention_ms, self._plan.top, self._settings.keep_input)
        if self._claim.options.max_calls is not None and not self._terms.calls_left(self._ledger.sent):
            return Fail(retention_ms, exhausted(self._claim.options.max_calls))
        if self._terms.forbids_start(now):
            return None
        return self._giving_back(now, max(0.0, next_at - now), turn_at)

    def _giving_back(self, now: float, wait: float, turn_at: float) -> Release | None:
        """Say how the task is given back that has `wait` seconds to wait, or None to sit them out."""
        idle = self._ledger.fruitless >= limits.FRUITLESS_MOST or turn_at > now
        silent = now - self._pace.announced_at if self._ledger.waits_for_model(now) else 0.0
        short = wait + silent < self._settings.lease_seconds / 2
        if not idle and short and self._openings.sits_out(wait, now):
            return None
        # A run whose time was over before a call could start has done no more than one that tried in vain.
        if idle or (not self._ledger.ended and (self._ledger.fruitless or not wait)):
            wait = max(wait, idle_seconds(self._ledger.idle_runs))
            self._ledger.idled()
            self._log("run_idle", idle_runs=self._ledger.idle_runs, delay_seconds=wait)
        else:
            wait = self._openings.returns_in(wait, now)
        return self._back(wait)

    def _back(self, seconds: float) -> Release:
        delay_ms = round(seconds * 1000)
        return Release(delay_ms, delay_ms + (0 if self._sweep_soon else self._settings.lease_ms))

    async def _end(self, ending: Ending) -> Outcome:
        await self._step((), ending)
        return Released(ending.delay_ms / 1000) if isinstance(ending, Release) else Ended(ending.status)

    async def _go_on(self, starting: list[CallKey]) -> bool:
        """Write, and announce calls. False: they may not start yet, since there is no room for what they give."""
        if not starting:
            await self._step((), self._continue())
            return True
        room_bytes = self._room.wanted(self._ledger.in_flight + len(starting))
        if not await self._room.announce(self._step(starting, self._continue(room_bytes)), self._ledger, room_bytes):
            return False
        return room_bytes > 0 or not self._room.tight  # the reply has told of it: they are announced again, with room

    def _continue(self, room_bytes: int = 0) -> Continue:
        """Keep the claim for as long as the calls that are announced may take, given how soon they must start."""
        window = self._pace.next_window()
        return Continue(self._settings.claim_ms(self._slack_seconds, window), round(window * 1000), room_bytes)

    async def _step(self, starting: Sequence[CallKey], step: Step) -> None:
        """Write, and insist while the lease lasts: paid outputs are worth waiting for a database."""
        told = None if self._room.tight else self._hearsay.tell(self._calls.groups_out)
        progress = self._ledger.progress(starting, self._plan.minimum_calls, clock.now(), self._plan.unsaved, told)

        def write() -> Awaitable[bool]:
            self._pace.announced_at = clock.now()
            return self._store.step(self._claim, progress, step, sends=1, model=self._model, heard=self._hearsay.hear)

        if not await self._pace.insist(write, when_full=not starting):
            raise ClaimLost
        if told is not None:
            self._hearsay.was_told()
        self._told = True
        self._wrote(progress.step)
        self._ledger.saved()
        self._plan.saved()

    async def _save(self) -> None:
        """Tell the store what is new, if anything is."""
        if self._ledger.unsaved:
            await self._step((), self._continue())

    async def _advance(self) -> None:
        """Plan the next merge level as soon as the one below it is whole."""
        while not self._plan.complete and self._ledger.all_done(self._plan.keys()):
            self._plan.add_level(await self._material.sizes())
            self._ledger.add(self._plan.keys())

    # --- calls -------------------------------------------------------------------------------------------

    def _start(self, keys: list[CallKey]) -> None:
        self._ledger.start(keys, clock.now())
        starts_by = self._terms.starts_by(self._pace.announced_at, self._pace.window)
        if not self._caller.slack_seconds:  # lanes count for themselves, and the slice has time to spare for it
            starts_by = min(starts_by, self._allowance.latest_start)
        self._allowance.spend(self._calls.start(keys, starts_by))

    async def _read(self, key: CallKey, now: float) -> None:
        """Read what a call is about, and what as many others are as this run may make after it."""
        room = self._allowance.room(now, limits.CHUNKS_MOST, self._calls.groups_out, self._caller.group_size)
        await self._material.read(key, room + self._settings.concurrency, self._ledger.lacks)

    async def _wait(self, turn_at: float) -> None:
        """Wait for calls to end, one that may start, a turn to write that lies ahead, a look, or the deadline."""
        now = clock.now()
        deadline_latest, wake_at = self._terms.deadline_latest, self._ledger.next_at(now)
        out, last = self._ledger.in_flight > 0, wake_at is None
        if wake_at is None or self._terms.forbids_start(now) or (out and (self._calls.free == 0 or wake_at <= now)):
            wake_at = deadline_latest
        if not out and self._ledger.waits_for_model(now):  # another task of the isolate may find it back before
            wake_at = min(wake_at, max(now, turn_at) + limits.AWAY_LOOK_SECONDS)
        if turn_at > now:
            wake_at = turn_at
        wrote_at, ended = self._pace.announced_at, self._ledger.ended
        looks_at = self._looks.next_at(wrote_at, self._calls.groups_out)
        wake_at = min(wake_at, deadline_latest, looks_at, self._openings.widens_at(now))
        hint = self._looks.hint.awaited()
        self._bookings.take(await self._calls.wait(wake_at, hint, last=last, deadline=deadline_latest))
        self._pace.earn(self._ledger.ended - ended)
        await self._looks.look(wrote_at, self._calls.groups_out)
