"""Plays a workload in a world, with clients, operators and cron.

After the workload the faults stop, and everything must become quiet.
"""

import asyncio
import math
from random import Random

from simulator.campaign.checks.end_checks import TASKS_JUDGED, Circumstances, check_task
from simulator.campaign.checks.form_checks import FormChecks
from simulator.campaign.checks.invariants import Invariants
from simulator.campaign.checks.orphans import check_orphans
from simulator.campaign.checks.patience import RESUMED
from simulator.campaign.checks.undelayed import Undelayed
from simulator.campaign.checks.webhooks import Webhooks
from simulator.campaign.clients import tenants
from simulator.campaign.clients.caps import CapOperators
from simulator.campaign.clients.clients import Clients, look_at_error
from simulator.campaign.clients.followers import STREAMS_EXCUSED
from simulator.campaign.clients.forms import is_formed
from simulator.campaign.clients.operators import Operators
from simulator.campaign.clients.workload import SHORT_RETENTION_DAYS, SLOW_CALL_SECONDS, Workload
from simulator.campaign.runs.batch_parts import BatchScenario
from simulator.campaign.subject import featured
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.campaign.subject.small_limits import MAX_ATTEMPTS
from simulator.engine.fault_kinds import HOSTED, MODEL_AWAY, POISONED, RATE_LIMITER, STORAGE
from simulator.engine.fault_plan import PersistentFault
from simulator.platform.choices import TOP
from simulator.platform.world import World

CRON_SECONDS = 30
# The longest time, in seconds, from the last fault until every task has ended. A task may rest for ten minutes of the
# time until every task has ended.
TERMINAL_SECONDS_MOST = 1_500
TASKS_AT_ONCE = 40  # A run of 80 tasks gets twice `TERMINAL_SECONDS_MOST`: its tasks wait for each other.
# The longest time, in seconds, from a task's deadline, or from the end of the last fault if that is later, until the
# sweep has failed the task. A standstill of D1 has ended when D1 serves calls again.
OVERDUE_SECONDS_MOST = 4 * CRON_SECONDS
# The longest time, in seconds, from the end of all tasks until nothing runs, waits or is stored in an object.
QUIET_SECONDS_MOST = 1_500
# The longest time, in seconds, until the calls of a dead worker whose task has ended are in doubt: the longest claim,
# and some sweeps.
SETTLED_SECONDS_MOST = 60 + 4 * CRON_SECONDS
LOOK_SECONDS = CRON_SECONDS - 1  # At cron's own interval each check might meet a running sweep.


class Scenario:
    """One run of a workload, and its checks.

    With `crashes`, isolates also die by planned crashes, which the tallies of the fault plan do not count.
    """

    def __init__(self, world: World, workload: Workload, rng: Random, *, crashes: bool = False) -> None:
        self.world = world
        self.workload = workload
        self.invariants = Invariants(world, max_attempts=MAX_ATTEMPTS, told=not workload.changes)
        self.undelayed = Undelayed(
            world,
            self.invariants,
            mixed=workload.older_isolates > 0,
            modest=workload.modest,
            hanging=workload.hanging,
        )
        self.clients = Clients(world, rng, self.invariants.new_tag)
        self.clients.mixed = workload.older_isolates > 0
        self.forms = FormChecks(world, self.invariants, self.clients)
        if is_formed(workload):
            self.forms.watch()
        self.batches = BatchScenario(world, workload, self.invariants, self.clients)
        self.operators = Operators(world, workload, rng, self.clients)
        self.caps = CapOperators(world, workload, self.clients)
        self._interfered = crashes or self.caps.are_there
        self._rng = rng
        world.model.number_outputs = True
        world.model.timeout_seconds = 20
        world.model.refuses = lambda call: call.user.startswith("x")
        world.model.cuts_off = lambda call: call.user.startswith("y")
        world.model.slow = lambda call: SLOW_CALL_SECONDS if call.user.startswith("z") else 0.0
        world.model.is_poison = lambda call: call.user.startswith("p") and self._poison_strikes()
        world.database.meter_reads = False
        if workload.keyed:
            tenants.install(world.database.connection, world.now_ms())
        self.webhooks = (
            Webhooks(world, self.clients, Random(f"{world.seed}/endpoints"), hanging=workload.hanging)
            if workload.webhooks
            else None
        )
        if self.webhooks is not None:
            setattr(world.app, "receivers", self.webhooks.receivers)  # noqa: B010 - the world knows any app
        if workload.queue_fate:
            world.queue.faults = PersistentFault(world.faults, workload.queue_fate)  # type: ignore[assignment]

    def _poison_strikes(self) -> bool:
        return self.world.faults.active and self.world.faults.strike(POISONED, "model")

    async def run(self, world: World) -> None:
        """Play the workload, stop the faults, wait until everything is quiet, and check every task.

        Raises InvariantBroken or NotQuiet.
        """
        if self.workload.cron:
            world.start_cron(CRON_SECONDS)
        parts = [self.clients.play(spec) for spec in self.workload.tasks]
        parts += self.batches.plays()
        parts += [self.operators.change(change) for change in self.workload.changes]
        parts += [self.webhooks.meddle(keyed=self.workload.keyed)] if self.webhooks is not None else []
        trouble = asyncio.ensure_future(
            asyncio.gather(self.operators.act(self.invariants.probes.resumed), self.caps.change())
        )
        trouble.add_done_callback(look_at_error)
        await asyncio.gather(*parts)
        await asyncio.sleep(self._rng.uniform(1, 20))
        if self.workload.sits_out:
            await asyncio.sleep(max(0.0, world.model.away_until - world.loop.now()))
        world.model.away_until = world.model.brown_until = -math.inf
        world.faults.stop()
        if world.deployment is not self.workload.last:
            self._interfered = True
            world.deploy(self.workload.last)
        await trouble
        self.invariants.judged[RESUMED] += self.operators.resumed
        await self.all_ended()
        await self.batches.all_ended()
        await self._all_sent()
        await self.invariants.letting_go.all_free()
        await self.batches.see_the_end()
        for follower in self.clients.followers:
            await follower.see_the_end()
            self.invariants.judged[STREAMS_EXCUSED] += follower.excused
        await self.forms.look()
        await self.all_ended()  # A request that had stood still may have made a new task.
        self.check()
        if world.deployment is not TOP:
            world.deploy(TOP)  # A deployment with objects lets objects that still sleep clean up.
        while True:
            await world.quiet(QUIET_SECONDS_MOST, look_every=LOOK_SECONDS)
            if all(row.terminal for row in self.invariants.rows.values()):
                break
            await self.all_ended()  # A request that had stood still made a new task.
        await self.batches.all_ended()
        await self._all_sent()
        await self._all_settled()
        self.check()
        self.invariants.costs.check(self.invariants.born)
        if self.workload.cron and self.workload.retention_days <= SHORT_RETENTION_DAYS:
            await asyncio.sleep(self.workload.retention_days * 86_400 + 10 * CRON_SECONDS)
            if self.invariants.rows:
                raise InvariantBroken(f"{len(self.invariants.rows)} tasks are kept beyond their retention")
        await self.batches.all_swept()
        self._check_nothing_is_left()

    async def all_ended(self) -> None:
        """Wait until every task has ended. Raises InvariantBroken if a task takes too long."""
        began = self.world.loop.now()
        # If the queue never works again, only the sweep moves a task, and it comes less and less often. If objects may
        # work on only a few tasks at once, tasks wait for each other.
        slowly = self.workload.queue_fate or "MAX_OBJECTS_AT_WORK" in self.workload.variables
        patience = TERMINAL_SECONDS_MOST * (2 if slowly else 1) * max(1, len(self.workload.tasks) // TASKS_AT_ONCE)
        deadline = began + patience
        # A D1 that stands still does not begin to serve when the faults stop, and stalls of a shared D1 add up. The
        # wait is measured only once, so that calls that come later excuse nothing.
        served_at = began + self.world.database.wait_seconds()
        while not all(row.terminal for row in self.invariants.rows.values()):
            if self.world.loop.now() > deadline:
                left = [f"{row.task_key} is {row.status}" for row in self.invariants.rows.values() if not row.terminal]
                raise InvariantBroken(f"lost, {patience} s after the last fault: {', '.join(left)}")
            self._check_overdue(self.world.loop.now() - served_at)
            await self.caps.lift()
            await asyncio.sleep(2)

    async def _all_settled(self) -> None:
        """Wait until no ended task has a call that is neither settled nor in doubt, which only a sweep ensures."""
        deadline = self.world.loop.now() + SETTLED_SECONDS_MOST
        while self.workload.cron and (
            left := [row for row in self.invariants.rows.values() if row.terminal and row.announced]
        ):
            if self.world.loop.now() > deadline:
                raise InvariantBroken(f"{left[0].task_key} has ended, and {left[0].announced} calls are open for ever")
            await asyncio.sleep(LOOK_SECONDS)

    async def _all_sent(self) -> None:
        if self.webhooks is not None:
            await self.webhooks.all_sent()

    def _check_overdue(self, quiet_seconds: float) -> None:
        """Check that a task ends soon after its deadline, unless isolates stood still in this run."""
        if not self.workload.cron or "worker_frozen" in self.circumstances().fired:
            return
        now_ms = self.world.database.now_ms()
        for row in self.invariants.rows.values():
            if not row.terminal and row.deadline_at is not None:
                seconds = min(quiet_seconds, (now_ms - row.deadline_at) / 1000)
                if seconds > OVERDUE_SECONDS_MOST:
                    raise InvariantBroken(f"{row.task_key} is {row.status}, {seconds:.0f} s after its deadline")

    # --- the checks -----------------------------------------------------------------------------------------------

    def circumstances(self) -> Circumstances:
        """Return the faults that have struck so far, and whether clients or operators have interfered."""
        fired = {name for name, tally in self.world.faults.tallies.items() if tally.fired} - HOSTED
        killed = self._interfered or self.operators.interfered
        left = frozenset(follower.task_key for follower in self.clients.followers if follower.cuts)
        operated = killed or self.clients.interfered
        return Circumstances(frozenset(fired), operated, self.workload.patience_seconds, left, killed)

    def check(self) -> None:
        """Check each task, and the counts of all tasks together, against all promises."""
        invariants = self.invariants
        circumstances = self.circumstances()
        complete = not self.workload.older_isolates and STORAGE not in circumstances.fired
        for row in invariants.rows.values():
            check_task(invariants, self.world, row, circumstances)
            if not row.is_batch and "attempts" in featured.NAMES:
                from simulator.campaign.checks.logged import check_log

                check_log(invariants, self.world, row, complete=complete)
        limited = invariants.tenant_limits.limited or self.clients.gave_up or self.caps.are_there
        if (
            not circumstances.fired - RATE_LIMITER
            and not limited
            and len(self.clients.answered) < len(self.workload.tasks) + len(self.workload.batches)
        ):
            raise InvariantBroken("a submission was not accepted, and nothing stood in its way")
        for task_key in self.clients.answered - invariants.rows.keys() - invariants.gone.keys():
            raise InvariantBroken(f"{task_key} was accepted and never was in the database")
        for task_key in invariants.gone:
            if invariants.reached[invariants.tags[task_key]] > invariants.sent(invariants.tags[task_key]):
                raise InvariantBroken(f"{task_key}: erased, and called for beyond what was announced")
        if MODEL_AWAY in circumstances.fired and circumstances.bears_it:
            invariants.judged[TASKS_JUDGED] = len(invariants.rows)
        invariants.tallied.check(invariants.rows, invariants.gone)
        self.forms.check()
        self.batches.check()
        if len(invariants.rows) + len(invariants.gone) != len(invariants.tags):
            raise InvariantBroken("counts by state do not add up to what was accepted")

    def _check_nothing_is_left(self) -> None:
        check_orphans(self.world.database.connection)
        for cell in self.world.servers.object_cells():
            # An object whose alarm the platform has dropped cannot clean up: no code runs in it until it is called.
            if not cell.data.is_empty() and not cell.alarm.dropped:
                raise InvariantBroken(f"{cell.namespace.class_name}/{cell.name} holds storage or an alarm")
        if dead := [isolate.name for isolate in self.world.isolates if isolate.is_out_of_memory]:
            raise InvariantBroken(f"the requests and runs of isolate {dead[0]} held more memory than it has")
        if dropped := self.world.network.never_awaited:
            raise InvariantBroken(f"an object's waitUntil was given a coroutine, which never runs: {dropped[0]}")
        mistakes: list[str] = getattr(self.world.app, "mistakes")  # noqa: B009 - the app is ours, the world knows any
        if self.workload.older_isolates:
            mistakes = [line for line in mistakes if not self.forms.is_refused_claim(line)]
        if mistakes:
            raise InvariantBroken(f"the Worker met an error that nothing outside it explains: {mistakes[0]}")
