"""Recognizes a submission that a client's SDK sent again by itself, so that it gets the task of the earlier send.

Each submission of `/v1` that makes a task has a row in `submissions`. The row's id consists of a name for the request's
content (it is from `:first` on and below `:behind`), followed by the task's id. The rows of equal requests therefore
stand next to each other, ordered by time. With each send, an SDK says how often it has sent the request before; this
number is called the send's count. The `digest` of a row of `/v1` is a JSON object: for each count, it has the task that
the send with this count would make. A `digest` has each count only once, because two equal requests with the same count
come from two clients, or are two separate requests of one client.
"""

from typing import NamedTuple

from ..domain import limits
from ..domain.ids import TaskKey, split_task_key
from .d1 import BoundStatement, Value, statement
from .fragments import NOW

# A condition: the row belongs to an equal request. For a first send, `:first` is the id of the send's own row, so that
# the send follows only later rows and does not read the many earlier rows. For a repeated send, `:first` is below the
# ids of all rows of equal requests.
_EQUAL = "id >= :first AND id < :behind"

# A condition: the row contains the present send, because this send follows the row or has written it. `:path` is the
# JSON path of the present send's count in `digest`.
_OURS = "digest ->> :path = :task_key"

# A condition: the row is at most `:window_ms` old, and contains a send with a lower count than the present send.
_FOLLOWS = f"""(expires_at - :valid_ms >= {NOW} - :window_ms
    AND EXISTS (SELECT 1 FROM json_each(digest) WHERE CAST(key AS INTEGER) < :sendings))"""

# A condition: the row belongs to a later send, which has already made its task. If a later send has made its task, the
# present send has arrived late, and must not make a task.
_IS_LATE = "id > :submission"

# Adds the present send to the row of another send of the same request, if the row of that task has no send with the
# same count yet. FOLLOW prefers a row that contains the previous send, whose count has the JSON path `:before`. If
# FOLLOW is sent twice, the second send changes nothing. Goes before TAKE_ROW. `:task_key` is the task that the present
# send would make.
FOLLOW = statement(f"""
UPDATE submissions SET replayed = 1, digest = json_set(digest, :path, :task_key)
WHERE id = (
  SELECT id FROM submissions WHERE {_EQUAL} AND digest ->> :path IS NULL AND ({_FOLLOWS} OR {_IS_LATE})
  ORDER BY digest ->> :before IS NULL, id DESC LIMIT 1
) AND NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
""")

# Writes a row for the present send, unless it follows another row. Goes before INSERT_TASK.
TAKE_ROW = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at)
SELECT :submission, :task_key, json_set('{{}}', :path, :task_key), {NOW} + :valid_ms
WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
ON CONFLICT DO NOTHING
""")

# Reads the task that the present send of the request follows or has made.
EARLIER = statement(f"SELECT task_id, digest FROM submissions WHERE {_EQUAL} AND {_OURS} ORDER BY id DESC LIMIT 1")


_VALID_MS = limits.RESEND_SECONDS_MOST * 1000
# The id of a row without an Idempotency-Key has a blank after the tenant's colon, which no row with an Idempotency-Key
# has, because no Idempotency-Key may contain a blank.
_MARK = " "
_BEHIND = "~"


class Resend(NamedTuple):
    """Tells whether a submission without an Idempotency-Key is a repeated send or a new request.

    `request` identifies the content of the request and the API key that sent it. `sendings` is how often the SDK has
    sent the request before, and `window_ms` is how old the row of a followed task may be.
    """

    request: str
    sendings: int
    window_ms: int

    def submission(self, task_key: TaskKey) -> str:
        """Return the id that the row in `submissions` has for the task that this send would make."""
        tenant, task_id = split_task_key(task_key)
        return f"{self._first(tenant)}{task_id}"

    def follow(self, task_key: TaskKey) -> BoundStatement:
        """Make the statement that lets this send of the request follow another send, if there is one."""
        return FOLLOW.bind(
            **self._equal(task_key),
            submission=self.submission(task_key),
            before=_path(self.sendings - 1),
            sendings=self.sendings,
            window_ms=self.window_ms,
            valid_ms=_VALID_MS,
        )

    def take_row(self, task_key: TaskKey) -> BoundStatement:
        """Make the statement that writes a row for this send of the request, if there is no send to follow."""
        return TAKE_ROW.bind(**self._equal(task_key), submission=self.submission(task_key), valid_ms=_VALID_MS)

    def earlier(self, task_key: TaskKey) -> BoundStatement:
        """Make the statement that reads which task this send of the request gets."""
        return EARLIER.bind(**self._equal(task_key))

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
