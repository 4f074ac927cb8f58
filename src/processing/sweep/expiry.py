"""The sweep's duty to fail tasks whose deadline has passed, and tasks whose workers keep dying."""

from ...store.sweep import Due
from ..outcomes import crashed
from ..terms import OVERDUE
from ..worker import Worker


class Expiry:
    """Fails tasks whose deadline has passed, and tasks whose workers keep dying."""

    def __init__(self, worker: Worker) -> None:
        self._store = worker.store
        self._settings = worker.settings
        self._log = worker.log

    async def fail_overdue(self, due: Due) -> int:
        """Fail the tasks whose deadline has passed, and return how many failed."""
        if not due.overdue:
            return 0
        return len(await self._store.expire(due.overdue, OVERDUE, self._settings.retention_ms))

    async def give_up(self, due: Due) -> int:
        """Fail the tasks whose workers died too often (stalls), and return how many tasks failed.

        A worker that claims a task with too many stalls also fails the task. `give_up` fails tasks with too many stalls
        that no worker claims.
        """
        settings = self._settings
        hopeless = [task_key for task_key, stalls in due.stalls.items() if stalls >= settings.max_attempts]
        if not hopeless:
            return 0
        reason = crashed(settings.max_attempts)
        ended = await self._store.give_up(hopeless, settings.max_attempts, reason, settings.retention_ms)
        self._log("gave_up", tasks=len(ended))
        return len(ended)
