"""Checks each tenant's unfinished tasks and accepted characters against the limits of the deployment."""

from collections import Counter
from collections.abc import Iterable, Mapping

from simulator.campaign.subject.row_changes import InvariantBroken, Row
from src.kernel.domain.ids import TaskKey, split_task_key

TASKS, CHARACTERS = "MAX_TASKS_IN_FLIGHT", "MAX_CHARACTERS_PER_DAY"
_DAY_MS = 86_400_000


class TenantLimits:
    """The limits of one run for its tenants. A limit of tenants whose variable is not set is not checked."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._tasks_most = int(variables.get(TASKS, "0"))
        self._characters_most = int(variables.get(CHARACTERS, "0"))
        # By tenant: the database's day, and the characters of each task accepted on it and not withdrawn.
        self._day: dict[str, tuple[int, dict[TaskKey, int]]] = {}
        self.limited = bool(self._tasks_most or self._characters_most)

    def accepted(self, task_key: TaskKey, characters: int, now_ms: int) -> None:
        """Record that a task was written, and check the characters of its tenant against the day's limit."""
        tenant, today = split_task_key(task_key)[0], now_ms // _DAY_MS
        day, sizes = self._day.get(tenant, (today, {}))
        sizes = {**(sizes if day == today else {}), task_key: characters}
        self._day[tenant] = today, sizes
        if self._characters_most and sum(sizes.values()) > self._characters_most:
            raise InvariantBroken(f"{task_key}: accepted beyond the day's {self._characters_most} characters: {sizes}")

    def taken_back(self, task_key: TaskKey) -> None:
        """Record that a task was withdrawn, so its characters no longer count."""
        self._day.get(split_task_key(task_key)[0], (0, dict[TaskKey, int]()))[1].pop(task_key, None)

    def grown(self, rows: Iterable[Row]) -> None:
        """After a task was written or retried, check each tenant's number of unfinished tasks against the limit."""
        if not self._tasks_most:
            return
        counts = Counter(split_task_key(row.task_key)[0] for row in rows if not row.terminal)
        if max(counts.values(), default=0) > self._tasks_most:
            raise InvariantBroken(f"more than {self._tasks_most} tasks of a tenant are in flight: {counts}")
