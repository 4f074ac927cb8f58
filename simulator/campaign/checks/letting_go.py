"""Checks that a host becomes free soon after its task has ended, even while slow model calls are in flight.

The check judges the runs of a world in which no fault stops a worker or cuts it off from the database or an object. A
host that can be notified of its task's end abandons its model calls at once. A host that has no model call in flight
(the model is away, or a call failed) notices its task's end after half a lease. A host whose invocation may check its
claim no more, as the Worker logs, notices its task's end when a call ends. The check counts the hosts that can no
longer check their claims separately if they are free later than other hosts may be.
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
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey, task_key_of
from src.kernel.domain.task import Kind, Route

if TYPE_CHECKING:
    from simulator.platform.world import World

FREED_SECONDS_MOST = 15.0
TOLD_SECONDS_MOST = 4.0
CALLS_TO_SETTLE = 3  # The number of D1 calls that a run may still need to end.
RUNS_JUDGED = "runs whose task ended under them"
RUNS_EXCUSED = f"{RUNS_JUDGED}, excused for what had struck their world"
RUNS_UNLOOKING = f"{RUNS_JUDGED}, later than others may be for want of a look"
_KIND = "SELECT kind FROM tasks WHERE id = ?"
_CLAIMED, _ENDED, _SPENT = '"event":"claimed"', '"event":"run_ended"', '"event":"looks_spent"'


@dataclass(slots=True)
class _Run:
    """A worker's run that has not ended; `ended_at` is when its task ended (virtual seconds), if it has.

    `looks` is True as long as the worker's run can still check its claim.
    """

    route: str
    kind: str | None
    ended_at: float | None = None
    looks: bool = True


class LettingGo:
    """The runs of one world.

    `told` says that a request that ends a task always reaches the object that works on the task.

    `judged` counts the runs that were judged, those that were excused, and late runs that could not check their claims.
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
        """Record that a task has just been cancelled or erased, or has failed by its deadline."""
        for (_, of, _), run in self._runs.items():
            if of == task_key and run.ended_at is None:
                run.ended_at = self._world.loop.now()

    def _hears(self, line: str) -> None:
        """Read one line of the Worker's log: note a run's begin or end, or that a run may check its claim no more."""
        if not any(mark in line for mark in (_CLAIMED, _ENDED, _SPENT)):
            return
        told = json.loads(line)
        # The fence is part of a run's key, because after a jump of the clock one invocation may take over a task on
        # which it still works.
        run_key = SCOPE.get(), task_key_of(told["tenant"], told["task"]), told["fence"]
        if told["event"] == "claimed":
            self._runs[run_key] = _Run(told["route"], self._kind(run_key[1]))
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
        """Wait until each host whose task has ended is free or dead.

        Raises InvariantBroken if a host keeps a task that has ended too long.
        """
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
            loop.call_soon(_raise, broken, context=loop.outside)  # Inside, the Worker would catch the error.

    def _most(self, run: _Run) -> float:
        """Return for how many seconds a host that can still check its claim may keep a task that has ended."""
        most = FREED_SECONDS_MOST
        if (
            run.kind == Kind.BATCH
        ):  # the calls that are out are awaited, each as long as it may take, and then files are written
            return most + self._half_lease + self._call_seconds + limits.WRITER_SLICE_SECONDS + 3 * limits.BLOB_SECONDS
        if run.kind is not None and self._world.faults.tallies["r2_hangs"].fired:
            return most + self._half_lease + limits.BLOB_SECONDS  # a run does not check its claim while it reads R2
        if self._told and run.route == Route.DURABLE_OBJECT:
            most = TOLD_SECONDS_MOST
        elif any(self._world.faults.tallies[name].fired for name in (*MODEL, MODEL_AWAY)):
            most += self._half_lease
        # On a shared database the write under way and the calls that settle the bill wait for other callers.
        if (line := self._world.database.line) is not None:
            most += CALLS_TO_SETTLE * line.sharing.others * line.sharing.service_seconds
        return most

    def _kind(self, task_key: TaskKey) -> str | None:
        row = self._world.database.connection.execute(_KIND, (task_key,)).fetchone()
        return None if row is None else row[0]

    def _excused(self) -> bool:
        tallies = self._world.faults.tallies
        return any(tallies[name].fired for name in CRASHES)


def _raise(error: InvariantBroken) -> None:
    raise error
