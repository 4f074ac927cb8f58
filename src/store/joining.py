"""A submission that a client's software may send again by itself: how its row is named, and which task it joins."""

from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey, split_task_key
from .d1.statement import BoundStatement, Value
from .sql import joining as sql

_VALID_MS = limits.JOINING_SECONDS_MOST * 1000
# After the tenant's colon comes a character that no Idempotency-Key can contain.
_MARK = " "
_BEHIND = "~"


class Joining(NamedTuple):
    """Distinguishes a repeated send from a new request.

    `request` identifies what was requested and by which key. `sendings` says how often the request was sent before, and
    `window_ms` within which time.
    """

    request: str
    sendings: int
    window_ms: int

    def submission(self, task_key: TaskKey) -> str:
        """Name the row of the send that would make this task."""
        tenant, task_id = split_task_key(task_key)
        return f"{self._first(tenant)}{task_id}"

    def join(self, task_key: TaskKey) -> BoundStatement:
        """Join the task of another send."""
        return sql.JOIN.bind(
            **self._equal(task_key),
            submission=self.submission(task_key),
            before=_path(self.sendings - 1),
            sendings=self.sendings,
            window_ms=self.window_ms,
            valid_ms=_VALID_MS,
        )

    def take_row(self, task_key: TaskKey) -> BoundStatement:
        """Take a row for this send, if there is no task to join."""
        return sql.TAKE_ROW.bind(**self._equal(task_key), submission=self.submission(task_key), valid_ms=_VALID_MS)

    def joined(self, task_key: TaskKey) -> BoundStatement:
        """Read the task that was joined."""
        return sql.JOINED.bind(**self._equal(task_key))

    def _equal(self, task_key: TaskKey) -> dict[str, Value]:
        tenant, _ = split_task_key(task_key)
        first = self._first(tenant)
        return {
            "first": first if self.sendings else self.submission(task_key),
            "behind": first + _BEHIND,
            "path": _path(self.sendings),
            "task_key": task_key,
        }

    def _first(self, tenant: str) -> str:
        return f"{tenant}:{_MARK}{self.request}{_MARK}"


def _path(sendings: int) -> str:
    return f'$."{sendings}"'
