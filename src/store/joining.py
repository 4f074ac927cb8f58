"""A submission that a client's software may send again by itself: how it is named, and what it joins."""

from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey, split_task_key
from .sql import joining as sql
from .sql.statement import BoundStatement, Value

_VALID_MS = limits.JOINING_SECONDS_MOST * 1000
# Behind the colon of the tenant stands what no Idempotency-Key can hold.
_MARK = " "
_BEHIND = "~"


class Joining(NamedTuple):
    """What tells a repetition from a wish.

    `request` names what was asked for, and by whom. `sendings` says how often it was sent before, `window_ms` within
    which time that was.
    """

    request: str
    sendings: int
    window_ms: int

    def submission(self, task_key: TaskKey) -> str:
        """Name the row of the sending that would make this task."""
        tenant, task_id = split_task_key(task_key)
        return f"{self._first(tenant)}{task_id}"

    def join(self, task_key: TaskKey) -> BoundStatement:
        """Join the task of another sending."""
        return sql.JOIN.bind(
            **self._equal(task_key),
            submission=self.submission(task_key),
            before=_path(self.sendings - 1),
            sendings=self.sendings,
            window_ms=self.window_ms,
            valid_ms=_VALID_MS,
        )

    def take_row(self, task_key: TaskKey) -> BoundStatement:
        """Take a row of its own, if there is nothing to join."""
        return sql.TAKE_ROW.bind(**self._equal(task_key), submission=self.submission(task_key), valid_ms=_VALID_MS)

    def joined(self, task_key: TaskKey) -> BoundStatement:
        """Read what was joined."""
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
