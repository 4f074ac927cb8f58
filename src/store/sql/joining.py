"""The SQL that finds the task of a submission that a client's SDK sent again by itself, without an Idempotency-Key.

Each submission of `/v1` that makes a task has a row in `submissions`. The row's id consists of a name for the request's
content (it is from `:first` on and below `:behind`), followed by the task's id. The rows of equal requests therefore
stand next to each other, ordered by time. With each send, an SDK says how often it has sent the request before; this
number is called the send's count. The `digest` of a row of `/v1` is a JSON object: for each count, it has the task that
the send with this count would make. A `digest` has each count only once, because two equal requests with the same count
come from two clients, or are two separate requests of one client.
"""

from ..d1.statement import statement
from .fragments import NOW

# A condition: the row belongs to an equal request. For a first send, `:first` is the id of the send's own row, so that
# the send joins only later rows and does not read the many earlier rows. For a repeated send, `:first` is below the ids
# of all rows of equal requests.
_EQUAL = "id >= :first AND id < :behind"

# A condition: the row contains the present send, because this send has joined the row or written it. `:path` is the
# JSON path of the present send's count in `digest`.
_OURS = "digest ->> :path = :task_key"

# A condition: the row is at most `:window_ms` old, and contains a send with a lower count than the present send.
_FOLLOWS = f"""(expires_at - :valid_ms >= {NOW} - :window_ms
    AND EXISTS (SELECT 1 FROM json_each(digest) WHERE CAST(key AS INTEGER) < :sendings))"""

# A condition: the row belongs to a later send, which has already made its task. If a later send has made its task, the
# present send has arrived late, and must not make a task.
_IS_LATE = "id > :submission"

# Joins the present send to the task of another send of the same request, if the row of that task has no send with the
# same count yet. JOIN prefers a row that contains the previous send, whose count has the JSON path `:before`. If JOIN
# is sent twice, the second send changes nothing. Goes before TAKE_ROW. `:task_key` is the task that the present send
# would make.
JOIN = statement(f"""
UPDATE submissions SET replayed = 1, digest = json_set(digest, :path, :task_key)
WHERE id = (
  SELECT id FROM submissions WHERE {_EQUAL} AND digest ->> :path IS NULL AND ({_FOLLOWS} OR {_IS_LATE})
  ORDER BY digest ->> :before IS NULL, id DESC LIMIT 1
) AND NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
""")

# Writes a row for the present send, unless it has joined another row. Goes before INSERT_TASK.
TAKE_ROW = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at)
SELECT :submission, :task_key, json_set('{{}}', :path, :task_key), {NOW} + :valid_ms
WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
ON CONFLICT DO NOTHING
""")

# Reads the task that the present send of the request has joined or made.
JOINED = statement(f"SELECT task_id, digest FROM submissions WHERE {_EQUAL} AND {_OURS} ORDER BY id DESC LIMIT 1")
