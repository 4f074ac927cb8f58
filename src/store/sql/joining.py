"""The SQL that finds the task of a submission that a client's software sent again by itself, without a key.

Each submission of `/v1` has a row in `submissions`. The row's id is a name of the request (`:first`, up to `:behind`)
and then the task's id. So the rows of equal requests are neighbours, ordered by time. The `digest` of such a row is a
JSON object. For each count of earlier sends the object has the task that the send with this count would make. A row has
each count once: two equal requests with the same count come from two clients, or are two separate requests of one
client.
"""

from ..d1.statement import statement
from .fragments import NOW

# The rows of equal requests, from `:first` on. A first send starts at its own row: it joins only later rows, and does
# not read the many earlier ones. A repeated send reads all rows in its window.
_EQUAL = "id >= :first AND id < :behind"

# This row contains the present send: the send joined the row, or the row is its own. `:path` is the place of the send's
# count.
_OURS = "digest ->> :path = :task_key"

# The row is at most `:window_ms` old, and contains a send with a lower count.
_FOLLOWS = f"""(expires_at - :valid_ms >= {NOW} - :window_ms
    AND EXISTS (SELECT 1 FROM json_each(digest) WHERE CAST(key AS INTEGER) < :sendings))"""

# A later send has made its task already. The present send lands late and must make no task.
_IS_LATE = "id > :submission"

# Joins the task of another send of the same request, if that row has no send with this count yet. The statement prefers
# a row that the previous send (`:before`) has joined. Sent again it changes nothing. Goes before TAKE_ROW. `:task_key`
# is the task that this send would make.
JOIN = statement(f"""
UPDATE submissions SET replayed = 1, digest = json_set(digest, :path, :task_key)
WHERE id = (
  SELECT id FROM submissions WHERE {_EQUAL} AND digest ->> :path IS NULL AND ({_FOLLOWS} OR {_IS_LATE})
  ORDER BY digest ->> :before IS NULL, id DESC LIMIT 1
) AND NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
""")

# Gives the send its own row, unless it has joined another one. Goes before INSERT_TASK.
TAKE_ROW = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at)
SELECT :submission, :task_key, json_set('{{}}', :path, :task_key), {NOW} + :valid_ms
WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
ON CONFLICT DO NOTHING
""")

# Reads the task that the send has joined or made.
JOINED = statement(f"SELECT task_id, digest FROM submissions WHERE {_EQUAL} AND {_OURS} ORDER BY id DESC LIMIT 1")
