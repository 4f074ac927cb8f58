"""The SQL of a submission: one transaction that accepts a task, finds it accepted before, or refuses it.

`_ACCEPTED` tells a first run of the transaction from a repetition: the task's row is there, its text is not yet.
"""

from .statement import NOW, unended

# --- With an Idempotency-Key -----------------------------------------------------------------------------

# Takes the key, if it is free or its time is over. Of racing twins the first has it. Goes before INSERT_TASK.
# ?1 submission ?2 task ?3 digest of the request ?4 how long the key is valid, ms
TAKE_KEY = f"""
INSERT INTO submissions (id, task_id, digest, expires_at) VALUES (?1, ?2, ?3, {NOW} + ?4)
ON CONFLICT DO UPDATE SET task_id = excluded.task_id, digest = excluded.digest, expires_at = excluded.expires_at,
  replayed = 0
WHERE expires_at <= {NOW} AND task_id <> excluded.task_id
"""

# Notes that somebody else is about to be told of the key's task, which must stay from now on.
# ?1 submission ?2 task of this request ?3 digest of this request
NOTE_REPLAY = """
UPDATE submissions SET replayed = 1 WHERE id = ?1 AND task_id <> ?2 AND digest = ?3 AND replayed = 0
"""

# Gives the key back when its task was refused. ?1 submission ?2 task
GIVE_KEY_BACK = """
DELETE FROM submissions WHERE id = ?1 AND task_id = ?2 AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?2)
"""

# Who has the key. ?1 submission
KEY_HOLDER = "SELECT task_id, digest FROM submissions WHERE id = ?1"

# --- The task --------------------------------------------------------------------------------------------

_TODAY = f"({NOW} / 86400000)"

# Writes the task, pending, unless another request has its key or a limit of its tenant is reached. Sent twice it
# changes nothing, since the id is the caller's.
# ?1 id ?2 route ?3 reduce ?4 model ?5 metadata ?6 total ?7 merge_chars ?8 calls_minimum ?9 created_at
# ?10 milliseconds that the task may stay unclaimed before the sweep dispatches it again
# ?11 milliseconds until the deadline or NULL ?12 model calls at most or NULL ?13 submission or NULL
# ?14 characters ?15 tenant ?16 tasks in flight at most or NULL ?17 characters a day at most or NULL
_DEADLINE = f"{NOW} + ?11"
INSERT_TASK = f"""
INSERT INTO tasks (id, status, route, reduce, model, metadata, total, merge_chars, calls_minimum, created_at,
  deadline_ms, deadline_at, max_calls, wake_at)
SELECT ?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?11, {_DEADLINE}, ?12,
  min({NOW} + ?10, coalesce({_DEADLINE}, {NOW} + ?10))
WHERE (?13 IS NULL OR EXISTS (SELECT 1 FROM submissions WHERE id = ?13 AND task_id = ?1))
  AND (?16 IS NULL OR {unended(15, 16)} < ?16)
  AND (?17 IS NULL OR ?17 >=
    ?14 + coalesce((SELECT characters FROM daily_use WHERE tenant = ?15 AND day = {_TODAY}), 0))
ON CONFLICT DO NOTHING
"""

_ACCEPTED = """EXISTS (SELECT 1 FROM tasks WHERE id = ?1) AND NOT EXISTS (SELECT 1 FROM texts WHERE task_id = ?1)"""

# Counts the task's characters towards its tenant's day, once. ?1 task ?2 tenant ?3 characters
COUNT_CHARACTERS = f"""
INSERT INTO daily_use (tenant, day, characters) SELECT ?2, {_TODAY}, ?3 WHERE {_ACCEPTED}
ON CONFLICT DO UPDATE SET day = excluded.day,
  characters = excluded.characters + CASE day WHEN excluded.day THEN characters ELSE 0 END
"""

# Writes what the task works on. ?1 id ?2 input ?3 instructions ?4 cuts ?5 overlap ?6 submission or NULL
INSERT_TEXT = """
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM tasks WHERE id = ?1)
ON CONFLICT DO NOTHING
"""

# What became of it: whether the task is there, in which status, and how many of its tenant's have not ended.
# ?1 id ?2 tenant ?3 count up to
OUTCOME = f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ?1) AS accepted, (SELECT status FROM tasks WHERE id = ?1) AS status,
  {unended(2, 3)} AS unended
"""

# Takes back a task whose client is told that nothing was accepted, unless another request was answered with it.
# Its parts go by what is left of it. ?1 task
_SHARED = """EXISTS (SELECT 1 FROM submissions JOIN texts ON submissions.id = texts.submission
  WHERE texts.task_id = ?1 AND submissions.task_id = ?1 AND replayed = 1)"""
_GONE = "NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?1)"
WITHDRAW = f"DELETE FROM tasks WHERE id = ?1 AND NOT {_SHARED}"
WITHDRAW_PARTS = (
    f"""DELETE FROM submissions
  WHERE id = (SELECT submission FROM texts WHERE task_id = ?1) AND task_id = ?1 AND {_GONE}""",
    f"DELETE FROM outputs WHERE task_id = ?1 AND {_GONE}",
    f"DELETE FROM failures WHERE task_id = ?1 AND {_GONE}",
    f"DELETE FROM texts WHERE task_id = ?1 AND {_GONE}",
)

# Goes before WITHDRAW: its characters count no more. ?1 task ?2 tenant ?3 characters
UNCOUNT_CHARACTERS = f"""
UPDATE daily_use SET characters = max(0, characters - ?3) WHERE tenant = ?2 AND day = {_TODAY}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = ?1) AND NOT {_SHARED}
"""
