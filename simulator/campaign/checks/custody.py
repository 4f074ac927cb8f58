"""No output that was paid for is lost: every output that reached a run is in the database when the run ends.

An output has reached a run once the provider's answer, or a lane's, has reached the run's own code. A run may end
without recording such an output only in four cases. The run's isolate died, or the database was away: then the run does
not end by itself. The database was full for half of a lease: then the run may give the task back. Another worker
claimed the task, or a client put it back: then the fence has risen. The task is erased. A lane's answer that comes
after the run's patience belongs to no run any more.

No answered call stays in doubt: if the run got an answer to a call, the call is settled on the bill. So a task's calls
in doubt are those without an answer, and those that were out when their worker died.

The check learns of runs from the Worker's log lines. A run, its calls and its requests to lanes share one context that
no other run has. An invocation alone could not tell runs apart: when a clock jumps, a sweep that a request triggered
takes over a task on which the same invocation is still working.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.campaign.subject.small_limits import LEASE_SECONDS
from src.core.errors import ModelError
from src.core.ids import TaskKey, task_key_of
from src.inference.protocol import ModelCall, ModelReply

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
    """A run of one claim, and the outputs that reached it. Calls are numbered, so all texts differ.

    `settled` is how many calls were on the bill when the run began. `answered` is how many further calls were answered,
    with an output or an error. Of the calls that lanes made, only those with outputs count.
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


class Custody:
    """The runs of one world."""

    def __init__(self, world: World, invariants: Invariants) -> None:
        self._world = world
        self._invariants = invariants
        world.model.received, world.model.failed = self._received, self._failed
        app: Any = world.app  # the world accepts any app
        app.hears, app.lane_answered = self._hears, self._lane_answered

    def _hears(self, line: str) -> None:
        """Take one line of the Worker's log."""
        if _CLAIMED not in line and _ENDED not in line:
            return
        told = json.loads(line)
        if told["event"] == "claimed":
            task_key = task_key_of(told["tenant"], told["task"])
            # The row is missing if the task was erased before the worker heard of its claim.
            row = self._invariants.rows.get(task_key)
            settled = 0 if row is None else row.settled
            _RUN.set(_Run(task_key, told["fence"], told["route"], self._world.now_ms(), settled))
            return
        run = _RUN.get()
        assert run is not None
        run.ended = True
        self._check(run)

    def _received(self, _call: ModelCall, reply: ModelReply) -> None:
        """Record that an output has reached the run that requested it.

        A lane's call has no run in the lane's invocation; the sender of the call accounts for it.
        """
        if (run := _RUN.get()) is not None:
            run.outputs.append(reply.output)
            run.answered += 1

    def _failed(self, _call: ModelCall, error: ModelError) -> None:
        """Record that a call has failed in the run that made it."""
        if (run := _RUN.get()) is not None:
            run.answered += error.answered

    def _lane_answered(self, task_key: TaskKey, outputs: Sequence[str]) -> None:
        """A lane has returned outputs in time."""
        run = _RUN.get()
        assert run is not None
        assert run.task_key == task_key
        run.outputs += outputs
        run.answered += len(outputs)
        self._invariants.judged[GROUPS.format(route=run.route)] += 1
        if run.ended:
            self._check(run)

    def _check(self, run: _Run) -> None:
        task_key = run.task_key
        row = self._invariants.rows.get(task_key)
        if row is None or row.fence != run.fence:
            return
        on_record = {output for key, output in self._invariants.outputs.items() if key[0] == task_key}
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
        """Report a broken promise from outside, since in the isolate the Worker would catch it."""
        loop = self._world.loop
        broken = InvariantBroken(f"{row.task_key} ({row.status}, fence {row.fence}): {what}")
        loop.call_soon(_raise, broken, context=loop.outside)


def _raise(error: InvariantBroken) -> None:
    raise error
