"""The sweep's duty to complete the files of batches whose task has ended."""

from collections.abc import Sequence

from ...core import limits
from ...core.ids import TaskKey
from ..worker import Worker
from .sweep_allowance import StepCost, SweepAllowance

# The least that completing a batch takes: to take the batch, to make one object from its lines, and to end or release
# the batch.
_BATCH = StepCost(16, 23)


class Finalizing:
    """Completes files of batches that no worker completes, because it died or because the task ended without one."""

    def __init__(self, worker: Worker, allowance: SweepAllowance) -> None:
        self._worker = worker
        self._allowance = allowance
        self._most = limits.BATCHES_WRITTEN_A_SWEEP[worker.settings.plan]

    async def run(self, found: Sequence[TaskKey]) -> int:
        """Complete the files of the batches that the sweep found, and return how many batches have ended.

        If the sweep has no allowance left for a batch, the batch stays due. No error is raised, so that a batch whose
        files cannot be completed does not keep the sweep from its other duties.
        """
        ended = 0
        for task_key in found[: self._most]:
            if not (self._allowance.affords(_BATCH) and self._allowance.in_time()):
                break
            try:
                ended += await self._worker.complete_batch(task_key)
            except Exception as error:  # noqa: BLE001 - a later sweep tries again, and the other duties go on
                self._worker.log.failure("batch_write_failed", error, task=task_key)
        return ended
