"""The SQL of tasks whose text is in a file: it accepts such a task, reads its cuts, and records them."""

from ..d1.statement import statement
from .admission import insert_task
from .fragments import NOW, UNDER_CLAIM

# --- A new task ------------------------------------------------------------------------------------------

# A condition: the file `:text_file` is complete, is for texts and has not expired.
_READY = f"""EXISTS (SELECT 1 FROM files WHERE files.id = :text_file AND state = 'ready' AND purpose = 'user_data'
  AND coalesce(expires_at > {NOW}, 1))"""

# Writes the task, as INSERT_TASK does, if the file is there. From then on the task's row keeps the file from being
# erased.
INSERT_FILE_TASK = insert_task("'file'", _READY, also=("text_file",))

# Writes the row for the cuts of a task that was written in the same transaction, or before if the write is sent again.
INSERT_FILE_TEXT = statement("""
INSERT INTO file_texts (task_id) SELECT :task_key WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Says whether the task was written, and whether the file is there.
IS_FILE_TASK_ACCEPTED = statement(f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AS accepted, {_READY} AS has_file
""")

# --- The cuts --------------------------------------------------------------------------------------------

# Reads how far the text of a task is cut.
CUT_AT = statement("SELECT cut_bytes, cut_chars, cut_chunks FROM file_texts WHERE task_id = :task_key")

# Reads where each chunk of a task lies, in code points of its text and in bytes of its file, once the whole text is
# cut.
FILE_CUTS = statement("""
SELECT cuts, overlap, byte_ends FROM texts JOIN file_texts USING (task_id) WHERE task_id = :task_key
""")

# Each of the following statements is part of a step of the worker that has the claim, and names the claim and the step.
# A write that is sent again, or that arrives after a later one, finds that the text is cut farther than `:from_bytes`,
# or that `total` is set.

_UNDER_CLAIM = f"{UNDER_CLAIM} AND step <= :step AND status = 'processing'"
_UNCUT = f"EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM})"

# Records the chunks of one slice of the file. `:char_ends` and `:byte_ends` are their ends, with a comma behind each.
CUT_ON = statement(f"""
UPDATE file_texts SET cut_bytes = :cut_bytes, cut_chars = :cut_chars, cut_chunks = :cut_chunks,
  char_ends = char_ends || :char_ends, byte_ends = byte_ends || :byte_ends
WHERE task_id = :task_key AND cut_bytes = :from_bytes AND {_UNCUT}
""")

# Records the first line of the text, one of the task's names, with the first slice.
NAME_TASK = statement(f"""
UPDATE tasks SET first_line = :first_line WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")

# Record that the whole text is cut. KEEP_CUTS and DROP_CHAR_ENDS move the cuts to where every task has them, and
# START_CHUNKS, which goes last, lets the calls begin.
KEEP_CUTS = statement(f"""
UPDATE texts SET cuts = (SELECT '[' || rtrim(char_ends, ',') || ']' FROM file_texts WHERE task_id = :task_key)
WHERE task_id = :task_key AND {_UNCUT}
""")
DROP_CHAR_ENDS = statement(f"UPDATE file_texts SET char_ends = '' WHERE task_id = :task_key AND {_UNCUT}")
START_CHUNKS = statement(f"""
UPDATE tasks SET total = (SELECT cut_chunks FROM file_texts WHERE task_id = :task_key)
WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")
