"""The SQL of batches: it accepts a batch, reads it, and records how far its input file is read.

A batch has a row in `tasks` and a row in `batches`. The SQL that writes its files is in `sql.batch_files`.
"""

from ..d1.statement import statement
from .admission import insert_task
from .fragments import NOW, UNDER_CLAIM
from .views import VIEW

# --- A new batch -----------------------------------------------------------------------------------------

# A condition: the file `:input_file` is complete, is for batches and has not expired.
_INPUT_READY = f"""EXISTS (SELECT 1 FROM files WHERE id = :input_file AND state = 'ready' AND purpose = 'batch'
  AND coalesce(expires_at > {NOW}, 1))"""

# Writes the task of a batch, as INSERT_TASK does, if the input file is there. From then on the row in `batches` keeps
# the file from being erased.
INSERT_BATCH_TASK = insert_task("'batch'", _INPUT_READY)

# Writes the row of a batch whose task was written in the same transaction, or before if the write is sent again.
INSERT_BATCH = statement("""
INSERT INTO batches (task_id, endpoint, window_ms, input_file, output_file, error_file, output_ms)
SELECT :task_key, :endpoint, :window_ms, :input_file, :output_file, :error_file, :output_ms
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) ON CONFLICT DO NOTHING
""")

# Notes that a batch retries the lines without an answer of the batch with the task `:old_key`.
LINK_RETRY = statement("UPDATE tasks SET retry_of = :old_key WHERE id = :task_key")

# Says whether the task of a batch was written, and whether the input file is there.
IS_ACCEPTED = statement(f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AS accepted, {_INPUT_READY} AS has_input
""")

# --- Reads -----------------------------------------------------------------------------------------------

# Reads the row of a batch.
BATCH = statement("SELECT * FROM batches WHERE task_id = :task_key")

# Reads the row of a batch for a worker, and where the parts of its output file are stored, NULL before the file begins.
WORK = statement("""
SELECT *, (SELECT place FROM files WHERE id = output_file) AS output_place FROM batches WHERE task_id = :task_key
""")

# Read a page of the batches whose keys are above `:first` and below `:behind`, newest first, and the rows of their
# tasks.
_PAGE = "batches WHERE task_id > :first AND task_id < :behind ORDER BY task_id DESC LIMIT :most"
BATCHES = statement(f"SELECT * FROM {_PAGE}")
BATCH_TASKS = statement(f"SELECT {VIEW} FROM tasks WHERE id IN (SELECT task_id FROM {_PAGE})")

# Finds the batch with the key `:rest` behind its tenant, in the list of all tenants: reads two rows a tenant.
BATCH_OF_SOME_TENANT = statement("""
WITH RECURSIVE found (tenant) AS (
  SELECT (SELECT substr(task_id, 1, instr(task_id, ':') - 1) FROM batches ORDER BY task_id LIMIT 1)
  UNION ALL
  SELECT (SELECT substr(task_id, 1, instr(task_id, ':') - 1) FROM batches WHERE task_id >= found.tenant || ';'
    ORDER BY task_id LIMIT 1)
  FROM found WHERE found.tenant IS NOT NULL
)
SELECT task_id FROM found CROSS JOIN batches ON task_id = found.tenant || :rest LIMIT 1
""")

# Reads where the lines of a batch lie in its input file.
SPANS = statement("""
SELECT first, lines, start, hex(spans) AS spans FROM batch_slices WHERE task_id = :task_key ORDER BY first
""")

# Reads the digests of the lines of a batch. Only the validation needs them, and they are most of a slice's bytes.
DIGESTS = statement("SELECT lines, hex(ids) AS ids FROM batch_slices WHERE task_id = :task_key ORDER BY first")

# --- The validation of the input file --------------------------------------------------------------------
# Each statement is part of a step of the worker that has the claim, and names the claim and the step. A write that is
# sent again, or that arrives after a later one, finds that the file is read farther than `:from_bytes`.

_UNDER_CLAIM = f"{UNDER_CLAIM} AND step <= :step AND status = 'processing'"
_MINE = f"EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {_UNDER_CLAIM})"
_FROM_HERE = f"task_id = :task_key AND read_bytes = :from_bytes AND valid_at IS NULL AND {_MINE}"

# Records the lines that were read at once. Goes before READ_ON.
ADD_SLICE = statement(f"""
INSERT INTO batch_slices (task_id, first, lines, start, spans, ids)
SELECT :task_key, :first, :lines, :start, unhex(:spans), unhex(:ids)
WHERE EXISTS (SELECT 1 FROM batches WHERE {_FROM_HERE}) ON CONFLICT DO NOTHING
""")

# Records that the input file is read up to `:read_bytes`, the model of its first line, and the faults found so far, a
# JSON list. `:model` is NULL if no line was read yet.
READ_ON = statement(f"""
UPDATE batches SET read_bytes = :read_bytes, read_lines = :read_lines, model = coalesce(model, :model), errors = :errors
WHERE {_FROM_HERE}
""")

# Records that the whole file was read and that each of its `:total` lines is valid. The output file is there from now
# on, so that clients can read early results. `:place` is where its parts will be stored. FOUND_VALID goes last.
START_LINES = statement(f"""
UPDATE tasks SET total = :total, model = :model WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")
BEGIN_OUTPUT = statement(f"""
INSERT INTO files (id, state, purpose, filename, place, owner, created_at)
SELECT output_file, 'growing', 'batch_output', :filename, :place, task_id, {NOW} FROM batches
WHERE task_id = :task_key AND valid_at IS NULL AND {_MINE} ON CONFLICT DO NOTHING
""")
FOUND_VALID = statement(f"""
UPDATE batches SET valid_at = {NOW} WHERE task_id = :task_key AND valid_at IS NULL AND {_MINE}
""")
