"""Checks each tenant's unfinished tasks and accepted characters against the limits of the deployment."""

from collections import Counter
from collections.abc import Iterable, Mapping

from simulator.campaign.subject.row_changes import InvariantBroken, Row
from src.kernel.domain.ids import TaskKey, split_task_key

TASKS, CHARACTERS = "MAX_TASKS_IN_FLIGHT", "MAX_CHARACTERS_PER_DAY"


class TenantLimits:
    """The limits of one run for its tenants. A limit of tenants whose variable is not set is not checked.

    A day's limit counts all tasks of a run, because no run lasts into the next day.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._tasks_most = int(variables.get(TASKS, "0"))
        self._characters_most = int(variables.get(CHARACTERS, "0"))
        self._characters: dict[TaskKey, int] = {}  # By task that was accepted and not withdrawn: its characters.
        self.limited = bool(self._tasks_most or self._characters_most)

    def accepted(self, task_key: TaskKey, characters: int) -> None:
        """Record that a task was written, and check the characters of each tenant against the day's limit."""
        self._characters[task_key] = characters
        sums: Counter[str] = Counter()
        for other, size in self._characters.items():
            sums[split_task_key(other)[0]] += size
        if self._characters_most and max(sums.values()) > self._characters_most:
            raise InvariantBroken(f"{task_key}: accepted beyond the day's {self._characters_most} characters: {sums}")

    def taken_back(self, task_key: TaskKey) -> None:
        """Record that a task was withdrawn, so its characters no longer count."""
        self._characters.pop(task_key, None)

    def grown(self, rows: Iterable[Row]) -> None:
        """After a task was written or retried, check each tenant's number of unfinished tasks against the limit."""
        if not self._tasks_most:
            return
        counts = Counter(split_task_key(row.task_key)[0] for row in rows if not row.terminal)
        if max(counts.values(), default=0) > self._tasks_most:
            raise InvariantBroken(f"more than {self._tasks_most} tasks of a tenant are in flight: {counts}")
