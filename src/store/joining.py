"""Recognizes a submission that a client's SDK sent again by itself, so that it joins the task of the earlier send."""

from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey, split_task_key
from .d1.statement import BoundStatement, Value
from .sql import joining as sql

_VALID_MS = limits.JOINING_SECONDS_MOST * 1000
# The id of a row without an Idempotency-Key has a blank after the tenant's colon, which no row with an Idempotency-Key
# has, because no Idempotency-Key may contain a blank.
_MARK = " "
_BEHIND = "~"


class Joining(NamedTuple):
    """Tells whether a submission without an Idempotency-Key is a repeated send or a new request.

    `request` identifies the content of the request and the API key that sent it. `sendings` is how often the SDK has
    sent the request before, and `window_ms` is how old the row of a joined task may be.
    """

    request: str
    sendings: int
    window_ms: int

    def submission(self, task_key: TaskKey) -> str:
        """Return the id that the row in `submissions` has for the task that this send would make."""
        tenant, task_id = split_task_key(task_key)
        return f"{self._first(tenant)}{task_id}"

    def join(self, task_key: TaskKey) -> BoundStatement:
        """Make the statement that joins this send of the request to the task of another send, if there is one."""
        return sql.JOIN.bind(
            **self._equal(task_key),
            submission=self.submission(task_key),
            before=_path(self.sendings - 1),
            sendings=self.sendings,
            window_ms=self.window_ms,
            valid_ms=_VALID_MS,
        )

    def take_row(self, task_key: TaskKey) -> BoundStatement:
        """Make the statement that writes a row for this send of the request, if there is no task to join."""
        return sql.TAKE_ROW.bind(**self._equal(task_key), submission=self.submission(task_key), valid_ms=_VALID_MS)

    def joined(self, task_key: TaskKey) -> BoundStatement:
        """Make the statement that reads which task this send of the request has joined."""
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
