"""The sweep's duty to complete the files of batches whose task has ended."""

import json
from collections.abc import Sequence

from ....kernel.domain.ids import TaskKey
from ....kernel.run.invocation import Invocation
from ....kernel.store import d1
from ....kernel.store.d1 import BoundStatement, Row
from ....kernel.work.sweep.duty import Duty, DutyCost, SweepAllowance
from ...files.erasure import file_work


class Finalizing(Duty):
    """Completes files of batches that no worker completes. What it has no allowance for stays due."""

    # The least that completing a batch takes: to take it, to make one object of its lines, and to end or release it.
    cost = DutyCost(16, 23)

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._found: list[TaskKey] = []

    def look(self) -> BoundStatement:
        """Make the statement that finds batches whose files no writer is completing."""
        return file_work(self._invocation.settings)

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Take the batches."""
        self._found = [TaskKey(key) for key in json.loads(d1.text(rows[0], "unwritten"))]

    @property
    def is_urgent(self) -> bool:
        """Whether batches were found: a sweep that runs tasks itself may spend all of its time on a backlog of them."""
        return bool(self._found)

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Complete the files of one batch. Raises nothing, so that a bad batch does not stop other duties."""
        if not (self._found and allowance.in_time()):
            return False
        task_key = self._found.pop(0)
        from .writer import BatchWriter  # noqa: PLC0415 - only batches need it

        try:
            await BatchWriter(self._invocation).run(task_key)
        except Exception as error:  # noqa: BLE001 - a later sweep tries again, and the other duties go on
            self._invocation.log.failure("batch_write_failed", error, task=task_key)
        return bool(self._found)
