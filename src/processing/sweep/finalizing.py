"""The sweep's duty to complete the files of batches whose task has ended."""

from collections.abc import Sequence

from ...core import limits
from ...core.ids import TaskKey
from ..worker import Worker
from .sweep_allowance import StepCost, SweepAllowance

# The least that completing a batch takes: to take it, to move its lines, and to end it.
_BATCH = StepCost(12, 22)


class Finalizing:
    """Completes files of batches that no worker completes, because it died or because none ended the task."""

    def __init__(self, worker: Worker, allowance: SweepAllowance) -> None:
        self._worker = worker
        self._allowance = allowance
        self._most = limits.BATCHES_WRITTEN_A_SWEEP[worker.settings.plan]

    async def run(self, found: Sequence[TaskKey]) -> int:
        """Complete the files of the batches that the sweep found, and return how many batches have ended.

        A batch that the sweep has no allowance for stays due. No error is raised.
        """
        ended = 0
        for task_key in found[: self._most]:
            if not (self._allowance.affords(_BATCH) and self._allowance.in_time()):
                break
            ended += await self._worker.complete_batch(task_key)
        return ended
