"""The SQL that finds the task of a submission that a client's software sent again by itself, with no key to name it.

Each submission of `/v1` has a row of its own in `submissions`, whose id is a name of the request (`:first`, up to
`:behind`) and then the task's id. So the rows of equal requests lie together, by the time at which they came. Its
`digest` is a JSON object: how often the request had been sent before, by the task that this sending would make. Each
count is there once: two equal requests with the same count are two clients', or two wishes of one.
"""

from .fragments import NOW
from .statement import statement

# The rows of requests that equal this one, from `:first` on. A first sending asks from its own row on: it joins later
# ones only, and so reads nothing of the many that may have come before. A repetition reads all of its window's.
_EQUAL = "id >= :first AND id < :behind"

# This sending has its row: it is the one that joined, or the task's own. `:path` is where its count stands.
_OURS = "digest ->> :path = :task_key"

# A sending that counts fewer before it has come, no longer than `:window_ms` ago.
_FOLLOWS = f"""(expires_at - :valid_ms >= {NOW} - :window_ms
    AND EXISTS (SELECT 1 FROM json_each(digest) WHERE CAST(key AS INTEGER) < :sendings))"""

# A later sending has made its task already: this one lands late, and is void.
_IS_LATE = "id > :submission"

# Joins the task of another sending of the same request, if there is one that has had none of this count yet: best one
# that the sending before this one (`:before`) has joined. Sent again it changes nothing. Goes before TAKE_ROW.
# `:task_key` is the task that this sending would make.
JOIN = statement(f"""
UPDATE submissions SET replayed = 1, digest = json_set(digest, :path, :task_key)
WHERE id = (
  SELECT id FROM submissions WHERE {_EQUAL} AND digest ->> :path IS NULL AND ({_FOLLOWS} OR {_IS_LATE})
  ORDER BY digest ->> :before IS NULL, id DESC LIMIT 1
) AND NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
""")

# Gives the sending a row of its own, unless it has joined another one. Goes before INSERT_TASK.
TAKE_ROW = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at)
SELECT :submission, :task_key, json_set('{{}}', :path, :task_key), {NOW} + :valid_ms
WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE {_EQUAL} AND {_OURS})
ON CONFLICT DO NOTHING
""")

# Says which task the sending has joined, or made.
JOINED = statement(f"SELECT task_id, digest FROM submissions WHERE {_EQUAL} AND {_OURS} ORDER BY id DESC LIMIT 1")
