"""A host becomes free soon after its task has ended, even while slow calls are out.

Runs are judged if no fault in their world stops a worker or cuts it off from the database or an object. A host that can
be notified abandons its calls at once. A host without a call that is out (the model is away, or a call failed) notices
after half a lease. A host whose invocation has no check of its claim left, as the Worker logs, notices when a call
ends. The check counts such hosts separately if they ended later than other hosts may.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.campaign.checks.disturbances import CRASHES, MODEL
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.engine.fault_kinds import MODEL_AWAY
from simulator.engine.scope import SCOPE, InvocationScope
from src.core.ids import TaskKey, task_key_of
from src.core.task import Route

if TYPE_CHECKING:
    from simulator.platform.world import World

FREED_SECONDS_MOST = 15.0
TOLD_SECONDS_MOST = 4.0
CALLS_TO_SETTLE = 3  # the calls that an end may take on a database that serves other callers first
RUNS_JUDGED = "runs whose task ended under them"
RUNS_EXCUSED = f"{RUNS_JUDGED}, excused for what had struck their world"
RUNS_UNLOOKING = f"{RUNS_JUDGED}, later than others may be for want of a look"
_CLAIMED, _ENDED, _SPENT = '"event":"claimed"', '"event":"run_ended"', '"event":"looks_spent"'


@dataclass(slots=True)
class _Run:
    """A run that has not ended, and when its task ended (virtual seconds).

    `looks` says that the run can still check its claim.
    """

    route: str
    ended_at: float | None = None
    looks: bool = True


class LettingGo:
    """The runs of one world. With `told`, requests always reach an object that works on the task that they end.

    `judged` counts the runs that were judged, those that were excused, and those without a check left.
    """

    def __init__(self, world: World, judged: Counter[str], *, told: bool) -> None:
        self._world = world
        self._judged = judged
        self._told = told
        self._half_lease = float(world.variables.get("LEASE_SECONDS", "60")) / 2
        self._call_seconds = float(world.variables.get("AI_TIMEOUT_SECONDS", "120"))
        self._runs: dict[tuple[InvocationScope | None, TaskKey, int], _Run] = {}
        app: Any = world.app  # the world accepts any app
        others = app.hears

        def hears(line: str) -> None:
            others(line)
            self._hears(line)

        app.hears = hears

    def ended(self, task_key: TaskKey) -> None:
        """Record that the task has just been cancelled or erased, or has failed by its deadline."""
        for (_, of, _), run in self._runs.items():
            if of == task_key and run.ended_at is None:
                run.ended_at = self._world.loop.now()

    def _hears(self, line: str) -> None:
        """Take one line of the Worker's log."""
        if not any(mark in line for mark in (_CLAIMED, _ENDED, _SPENT)):
            return
        told = json.loads(line)
        # The fence is part of the key: when a clock has jumped, one invocation may take over a task on which it still
        # works.
        run_key = SCOPE.get(), task_key_of(told["tenant"], told["task"]), told["fence"]
        if told["event"] == "claimed":
            self._runs[run_key] = _Run(told["route"])
            return
        if told["event"] == "looks_spent":
            self._runs[run_key].looks = False
            return
        run = self._runs.pop(run_key)
        if run.ended_at is not None:
            late = not run.looks and self._world.loop.now() - run.ended_at > self._most(run)
            self._judged[RUNS_EXCUSED if self._excused() else RUNS_UNLOOKING if late else RUNS_JUDGED] += 1
        self._judge(run_key[1], run)

    async def all_free(self) -> None:
        """Wait until each host whose task has ended is free or dead. Raises InvariantBroken if this takes too long."""
        while not self._excused() and (held := self._held()):
            for task_key, run in held:
                self._judge(task_key, run)
            await asyncio.sleep(1)

    def _held(self) -> list[tuple[TaskKey, _Run]]:
        return [
            (task_key, run)
            for (scope, task_key, _), run in self._runs.items()
            if run.ended_at is not None and not (scope is not None and scope.dead)
        ]

    def _judge(self, task_key: TaskKey, run: _Run) -> None:
        if run.ended_at is None or self._excused():
            return
        most = self._most(run) + (0 if run.looks else self._call_seconds)
        if (seconds := self._world.loop.now() - run.ended_at) > most:
            broken = InvariantBroken(f"{task_key}: its host on {run.route} is held {seconds:.1f} s after it ended")
            loop = self._world.loop
            loop.call_soon(_raise, broken, context=loop.outside)  # inside the isolate the Worker would catch the error

    def _most(self, run: _Run) -> float:
        """Return for how many seconds a host may keep the task if it can still check its claim."""
        most = FREED_SECONDS_MOST
        if self._told and run.route == Route.DURABLE_OBJECT:
            most = TOLD_SECONDS_MOST
        elif any(self._world.faults.tallies[name].fired for name in (*MODEL, MODEL_AWAY)):
            most += self._half_lease
        # Wait for the write under way, and for the calls that settle.
        if (line := self._world.database.line) is not None:
            most += CALLS_TO_SETTLE * line.sharing.others * line.sharing.service_seconds
        return most

    def _excused(self) -> bool:
        tallies = self._world.faults.tallies
        return any(tallies[name].fired for name in CRASHES)


def _raise(error: InvariantBroken) -> None:
    raise error
