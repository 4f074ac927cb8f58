"""Checks that no output that was paid for is lost: the database has each output that reached a run when the run ends.

An output has reached a run once the provider's answer, or a lane's, has reached the run's own code. A run may end
without recording an output that reached it only in five cases. A run that did not end by itself, because its isolate
died or the database was away, may lose an output. A run that gave its task back because the database was full for half
of a lease may lose an output. A run may lose an output if another worker claimed the task or a client retried it, so
that the fence has risen, or if the writer of a batch's files gave up waiting for its calls. The task was erased. An
answer of a lane that comes after the run has stopped waiting for it belongs to no run.

The module also checks that no answered call stays in doubt: if a run got an answer to a call, the call is settled on
the bill. Only two kinds of calls stay in doubt: calls without an answer, and calls in flight when their worker died.

The check of lost outputs learns of runs from the Worker's log lines. A run, its calls and its requests to lanes share
one context that no other run has. The invocation alone does not identify a run: when a clock jumps, a sweep that a
request triggered can take over a task on which the same invocation is still working.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.campaign.checks.batches.lines import said
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.campaign.subject.small_limits import LEASE_SECONDS
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelError
from src.kernel.domain.ids import TaskKey, task_key_of

if TYPE_CHECKING:
    from simulator.campaign.checks.invariants import Invariants
    from simulator.platform.world import World

RUNS_JUDGED = "runs that ended with outputs"
GROUPS = "groups of calls that lanes answered, on the route {route}"
BILLS_JUDGED = "runs that ended with answered calls"
RUNS_JUDGED_FULL = "runs that ended with outputs, the database full meanwhile"
_CLAIMED, _ENDED = '"event":"claimed"', '"event":"run_ended"'


@dataclass(slots=True)
class _Run:
    """A worker's run under one claim, and the outputs that reached it.

    The simulated model numbers its outputs, so no two outputs are the same.

    `settled` is how many calls were settled on the bill when the run began. `answered` is how many of the run's own
    calls were answered, with an output or an error. A call that a lane made counts in `answered` only if it has an
    output.
    """

    task_key: TaskKey
    fence: int
    route: str
    began_ms: int
    settled: int
    answered: int = 0
    outputs: list[str] = field(default_factory=list)
    ended: bool = False


_RUN: ContextVar[_Run | None] = ContextVar("run", default=None)


def run_of_call() -> tuple[TaskKey, int] | None:
    """Return the task and the fence of the run that makes the present call. None: a lane makes it."""
    run = _RUN.get()
    return None if run is None else (run.task_key, run.fence)


class Custody:
    """The runs of one world."""

    def __init__(self, world: World, invariants: Invariants) -> None:
        self._world = world
        self._invariants = invariants
        world.model.received, world.model.failed = self._received, self._failed
        app: Any = world.app  # the world accepts any app
        app.hears, app.lane_answered = self._hears, self._lane_answered

    def _hears(self, line: str) -> None:
        """Read one line of the Worker's log: note a claimed run, and check a run that has ended."""
        if _CLAIMED not in line and _ENDED not in line:
            return
        told = json.loads(line)
        if told["event"] == "claimed":
            task_key = task_key_of(told["tenant"], told["task"])
            # The task's row is missing if the task was erased before the worker got the answer to its claim.
            row = self._invariants.rows.get(task_key)
            settled = 0 if row is None else row.settled
            _RUN.set(_Run(task_key, told["fence"], told["route"], self._world.now_ms(), settled))
            return
        run = _RUN.get()
        assert run is not None
        run.ended = True
        self._check(run)

    def _received(self, _call: ModelCall, reply: ModelReply) -> None:
        """Record that a model's output has reached the run that requested it.

        A call that a lane makes has no run in the lane's invocation; `_lane_answered` counts it for the run that sent
        it.
        """
        if (run := _RUN.get()) is not None:
            run.outputs += self._usable([reply.output])
            run.answered += 1

    def _failed(self, _call: ModelCall, error: ModelError) -> None:
        """Count a call that failed for the run that made it, if the provider answered the call."""
        if (run := _RUN.get()) is not None:
            run.answered += error.answered

    def _lane_answered(self, task_key: TaskKey, outputs: Sequence[str]) -> None:
        """Record outputs that a lane has returned to a run in time."""
        run = _RUN.get()
        assert run is not None
        assert run.task_key == task_key
        run.outputs += self._usable(outputs)
        run.answered += len(outputs)
        self._invariants.judged[GROUPS.format(route=run.route)] += 1
        if run.ended:
            self._check(run)

    def _usable(self, outputs: Sequence[str]) -> list[str]:
        """Return what must be on record of these outputs: the value that an output holds, nothing of an unfit one."""
        return [worth for worth in map(self._world.model.worth, outputs) if worth is not None]

    def _check(self, run: _Run) -> None:
        task_key = run.task_key
        row = self._invariants.rows.get(task_key)
        if row is None or task_key in self._invariants.endings.given_up:
            return
        if row.fence - self._invariants.endings.shut[task_key] != run.fence:
            return
        on_record = {output for key, output in self._invariants.outputs.items() if key[0] == task_key}
        if row.is_batch:
            on_record = {said(line) for line in on_record}
        lost = [output for output in run.outputs if output not in on_record]
        full_ms = self._world.database.cap.longest_ms(run.began_ms, self._world.now_ms())
        if full_ms >= LEASE_SECONDS * 1000 / 2:
            return
        self._invariants.judged[RUNS_JUDGED] += bool(run.outputs)
        self._invariants.judged[RUNS_JUDGED_FULL] += bool(run.outputs) and full_ms > 0
        self._invariants.judged[BILLS_JUDGED] += run.answered > 0
        if lost:
            self._break(row, f"{len(lost)} of {len(run.outputs)} outputs that had come were thrown away")
        if (settled := row.settled - run.settled) < run.answered:
            self._break(row, f"{run.answered} calls were answered, and {settled} of them are settled on the bill")

    def _break(self, row: Row, what: str) -> None:
        """Raise InvariantBroken outside the isolate, because the Worker would catch an error inside."""
        loop = self._world.loop
        broken = InvariantBroken(f"{row.task_key} ({row.status}, fence {row.fence}): {what}")
        loop.call_soon(_raise, broken, context=loop.outside)


def _raise(error: InvariantBroken) -> None:
    raise error
