"""Checks that no task waits for another tenant's trouble: a run always has a call in flight, except for moments.

The check judges a run if calls of another tenant failed recently and no call of the run's own tenant failed, and in a
run in which all webhook receivers of one tenant hang. The check does not judge how long a task of the direct route
waits for cron, because that depends on the platform. It judges how long a message waits for a consumer only beside
receivers that hang, in schedules whose tasks alone never occupy all consumers. An object must begin its task soon,
since it serves only one task.
`campaign/load/neighbours.py` compares tasks' total times.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.campaign.checks.client_promises import tag_of
from simulator.campaign.checks.disturbances import CRASHES
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.engine.fault_kinds import KINDS, RECEIVERS_HANG
from simulator.platform.binding_port import Reply
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey, split_task_key, task_key_of
from src.kernel.domain.task import Route

if TYPE_CHECKING:
    from simulator.campaign.checks.invariants import Invariants
    from simulator.platform.world import World

LATE_SECONDS_MOST = 2.0  # A run may be without a call for this many seconds plus the longest time of a model call.
RUNS_JUDGED = "runs beside another tenant's trouble"
RUNS_EXCUSED = f"{RUNS_JUDGED}, excused for trouble of their own or of the platform"
STARTS_JUDGED = "tasks that hosts began beside another tenant's trouble"
STARTS_EXCUSED = f"{STARTS_JUDGED}, or others did, excused for what they may have waited for"
ENDS_JUDGED = "tasks that ended soon beside two greedy tenants"
# The faults that can delay a task on its way to its host: faults of messages, sends, alarms and triggers, and of the
# clock by which an object sets its alarm.
_ON_THE_WAY = frozenset(kind.name for kind in KINDS.values() if kind.number in {1, 2, 4, 5, 6, 11, 13, 24})
_MARKS = ('"event":"accepted"', '"event":"claimed"', '"event":"run_ended"', '"delay_seconds"')


@dataclass(slots=True)
class _Run:
    """A run that has not ended: how many of its calls are in flight, and its times without a call in flight.

    `since` is when the run's last model call ended (virtual seconds). `longest` is the longest time without a call so
    far (seconds).
    """

    since: float
    out: int = 0
    longest: float = 0.0

    def pause(self, now: float) -> float:
        """Return for how many seconds the run has had no call in flight."""
        return 0.0 if self.out else now - self.since


class Undelayed:
    """The runs of one world, and when a model call of each tenant last failed.

    `mixed`: some isolates are of an older release, whose objects cannot claim a task with a schema or gaps. `modest` is
    a tenant whose tasks need calls of one round only, and must end soon.
    """

    def __init__(
        self, world: World, invariants: Invariants, *, mixed: bool, modest: str = "", hanging: str = ""
    ) -> None:
        self._world = world
        self._mixed = mixed
        self._modest = modest
        self._came: dict[TaskKey, float] = {}  # When each task of the modest tenant was accepted.
        self._hanging = hanging  # The tenant whose webhook receivers all hang, empty if none.
        self._invariants = invariants
        self._runs: dict[TaskKey, _Run] = {}
        self._accepted: dict[TaskKey, float] = {}
        self._failed: dict[str, float] = {}
        self._probe_seconds = world.model.seconds[1]
        self._serve = world.model.serve
        world.model.serve = self._served  # type: ignore[method-assign]
        app: Any = world.app  # the world accepts any app
        others = app.hears

        def hears(line: str) -> None:
            others(line)
            if any(mark in line for mark in _MARKS):
                self._hears(json.loads(line))

        app.hears = hears

    def _hears(self, told: dict[str, Any]) -> None:
        """Read one line of the Worker's log: note accepted tasks and claimed runs, and judge runs that end."""
        task_key, now = task_key_of(told["tenant"], told["task"]), self._world.loop.now()
        if told["event"] == "accepted":
            self._accepted[task_key] = now
            if told["tenant"] == self._modest:
                self._came.setdefault(task_key, now)
        elif told["event"] == "dispatched":  # The run gives its task back, to be sent again later.
            self._judge(task_key, told["delay_seconds"])
        elif told["event"] == "claimed":
            self._runs[task_key] = _Run(now)
            came_at = self._accepted.pop(task_key, None)
            if came_at is not None and told["fence"] == 1:  # `came_at` is None if the claim is logged first.
                self._judge_start(task_key, told["route"], now - came_at)
        elif told["event"] == "run_ended" and (run := self._runs.pop(task_key, None)) is not None:
            self._judge(task_key, max(run.longest, run.pause(now)))
            if told["outcome"] == "ended" and task_key in self._came:
                self._judge_end(task_key, now - self._came.pop(task_key))

    def _served(self, call: ModelCall, sender: str, reply: Reply) -> None:
        task_key = self._invariants.born[tag_of(call)][-1]
        run = self._runs.get(task_key)
        if run is not None:
            run.longest = max(run.longest, run.pause(self._world.loop.now()))
            run.out += 1

        def ended(value: object, error: BaseException | None) -> None:
            if run is not None:
                run.out -= 1
                run.since = self._world.loop.now()
            if error is not None:
                self._failed[split_task_key(task_key)[0]] = self._world.loop.now()
            reply(value, error)

        self._serve(call, sender, ended)

    def _judge(self, task_key: TaskKey, pause: float) -> None:
        """Judge a run by its longest time without a call, or by the delay after which its task is to be sent again."""
        if not self._is_beside_trouble(task_key):
            return
        excused = self._is_excused(task_key)
        self._invariants.judged[RUNS_EXCUSED if excused else RUNS_JUDGED] += 1
        if not excused and pause > LATE_SECONDS_MOST + self._probe_seconds:
            self._break(f"{task_key}: made no call for {pause:.1f} s, beside another tenant's trouble")

    def _judge_start(self, task_key: TaskKey, route: str, waited: float) -> None:
        """Judge how many seconds passed from a task's acceptance to its first claim."""
        if not self._is_beside_trouble(task_key):
            return
        waits = route == Route.DIRECT or (route == Route.QUEUE and not self._hanging)
        waits |= "MAX_OBJECTS_AT_WORK" in self._world.variables
        row = self._invariants.rows.get(task_key)
        unclaimable = self._mixed and (row is None or row.structured is not None)
        excused = waits or unclaimable or self._is_excused(task_key) or self._have_struck(_ON_THE_WAY)
        self._invariants.judged[STARTS_EXCUSED if excused else STARTS_JUDGED] += 1
        if not excused and waited > LATE_SECONDS_MOST:
            self._break(f"{task_key}: no host began for {waited:.1f} s, beside another tenant's trouble")

    def _judge_end(self, task_key: TaskKey, took: float) -> None:
        """Judge how many seconds passed from the acceptance of a modest tenant's task to its end.

        The task's own calls take as long as a probe at most, and its start waits for one other call: for two if it
        needs an object slot.
        """
        if self._is_excused(task_key):
            return
        self._invariants.judged[ENDS_JUDGED] += 1
        waits_for = 2 if "MAX_OBJECTS_AT_WORK" in self._world.variables else 1
        if took > LATE_SECONDS_MOST + (1 + waits_for) * self._probe_seconds:
            self._break(f"{task_key}: took {took:.1f} s, beside two greedy tenants")

    def _is_beside_trouble(self, task_key: TaskKey) -> bool:
        tenant, _ = split_task_key(task_key)
        if self._hanging and tenant != self._hanging and self._have_struck((RECEIVERS_HANG,)):
            return True
        late = max((at for other, at in self._failed.items() if other != tenant), default=-math.inf)
        return self._world.loop.now() - late <= limits.OTHERS_SECONDS

    def _is_excused(self, task_key: TaskKey) -> bool:
        """Whether the run's tenant has trouble of its own, or a fault has struck that stops workers or the database."""
        world, (tenant, _) = self._world, split_task_key(task_key)
        shared = world.database.line is not None
        row = self._invariants.rows.get(task_key)
        reads = row is None or row.kind is not None  # it reads a bucket with faults, or did before it was erased
        return reads or self._have_struck(CRASHES) or tenant in self._failed or shared or world.deployed_at > 0

    def _have_struck(self, names: Iterable[str]) -> bool:
        return any(self._world.faults.tallies[name].fired for name in names)

    def _break(self, what: str) -> None:
        """Raise InvariantBroken outside the isolate, because the Worker would catch an error inside."""
        loop = self._world.loop
        loop.call_soon(_raise, InvariantBroken(what), context=loop.outside)


def _raise(error: InvariantBroken) -> None:
    raise error
