"""The SQL of files: their rows, each tenant's use, their parts in D1, and the search for parts that no row names."""

from ...kernel.store.d1 import Statement, statement
from ...kernel.store.fragments import IS_QUIET, NOW

_FILE = "id, state, purpose, filename, place, bytes, parts, owner, created_at, expires_at"
# A condition on a row of `files`: a batch or a task still reads the file, which then neither expires nor is deleted.
IN_USE = """(EXISTS (SELECT task_id FROM batches WHERE input_file = files.id AND ended_at IS NULL)
  OR EXISTS (SELECT tasks.id FROM tasks WHERE text_file = files.id AND finished_at IS NULL))"""
# A condition on a row of `files`: clients see the file.
VISIBLE = f"(state IN ('growing', 'ready') AND (expires_at IS NULL OR expires_at > {NOW} OR {IN_USE}))"
_WRITING = "EXISTS (SELECT 1 FROM files WHERE id = :file_key AND state = 'writing')"

# --- An upload ------------------------------------------------------------------------------------------------

# Writes the row of a file whose upload begins. The sweep erases the file if it is not ready within `:upload_ms`.
# Purpose and name are not known yet. If BEGIN_UPLOAD is sent twice, the second send changes nothing, and if it lands
# after the file was erased, the tombstone `:grave` stops it. No row is written if the tenant has `:files_most` other
# files already, those between the keys `:first` and `:behind`, without the files that batches write.
BEGIN_UPLOAD = statement(f"""
INSERT INTO files (id, state, purpose, filename, place, created_at, due_at)
SELECT :file_key, 'writing', 'user_data', '', :shelf, :created_at, {NOW} + :upload_ms
WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave) AND :files_most > (
  SELECT count(*) FROM (
    SELECT 1 FROM files WHERE id > :first AND id < :behind AND owner IS NULL AND id <> :file_key LIMIT :files_most
  )
)
ON CONFLICT DO NOTHING
""")

# Starts the search for orphans at a place with its first upload: a put may land late. Goes after BEGIN_UPLOAD.
BEGIN_WALKS = statement(f"""
INSERT INTO file_walks (what, after, at) SELECT :shelf, '', {NOW} WHERE {_WRITING} ON CONFLICT DO NOTHING
""")

# Says whether the row of an upload was written.
UPLOAD_BEGUN = statement("SELECT EXISTS (SELECT 1 FROM files WHERE id = :file_key) AS begun")

# The statements of MAKE_READY make an uploaded file ready, in one transaction, if the tenant's files then have at most
# `:use_most` bytes. They change nothing unless the file is `writing`, so they are safe to send again. An upload that
# has taken too long is erased, because the sweep may have found it already. The bytes are added to the tenant's use
# first, and are taken back if they are too many. `:keeps_ms` is NULL for a file that is kept until it is deleted.
MAKE_READY: tuple[Statement, ...] = (
    statement(f"UPDATE files SET state = 'erasing' WHERE id = :file_key AND state = 'writing' AND due_at <= {NOW}"),
    statement(f"""
INSERT INTO file_use (tenant, bytes) SELECT :tenant, :bytes WHERE {_WRITING}
ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes
"""),
    statement("""
UPDATE files SET state = 'ready', purpose = :purpose, filename = :filename, bytes = :bytes, parts = :parts,
  expires_at = created_at + :keeps_ms, due_at = created_at + :keeps_ms
WHERE id = :file_key AND state = 'writing' AND (SELECT bytes FROM file_use WHERE tenant = :tenant) <= :use_most
"""),
    statement(f"UPDATE file_use SET bytes = bytes - :bytes WHERE tenant = :tenant AND {_WRITING}"),
)

# Reads the outcome of MAKE_READY: the file's row, and the bytes that the tenant's files have together.
READY_OUTCOME = statement(f"""
SELECT {_FILE}, coalesce((SELECT bytes FROM file_use WHERE tenant = files.tenant), 0) AS used
FROM files WHERE id = :file_key AND state IN ('writing', 'ready')
""")

# --- Reads ----------------------------------------------------------------------------------------------------

# Reads a file that clients see.
FIND_FILE = statement(f"SELECT {_FILE}, missing FROM files WHERE id = :file_key AND {VISIBLE}")

# Notes in the row of a file that the bucket does not have the parts `:names`, a JSON list, and gives all notes: by part
# since when, and when last, a reader missed it. A note that is older than `:forget_ms` counts no more, because the
# reader may have died, or its task may have ended, before the part was there again. Without a row the file is gone.
MISS_PARTS = statement(f"""
UPDATE files SET missing = json_patch(coalesce(missing, '{{}}'), (
  SELECT json_group_object(value, json_array(CASE WHEN missing ->> ('$."' || value || '"[1]')
    BETWEEN {NOW} - :forget_ms AND {NOW} THEN missing ->> ('$."' || value || '"[0]') ELSE {NOW} END, {NOW}))
  FROM json_each(:names)
)) WHERE id = :file_key AND state IN ('growing', 'ready') RETURNING missing, {NOW} AS now
""")
# Removes the note on a part, because it was read.
FIND_PART = statement("""
UPDATE files SET missing = nullif(json_remove(missing, '$."' || :name || '"'), '{}')
WHERE id = :file_key AND missing IS NOT NULL
""")


def _listed(order: str, behind: str) -> Statement:
    """Make the statement that lists files between two keys in an order."""
    return statement(f"""
SELECT {_FILE} FROM files
WHERE id > :first AND id < :behind AND {behind} AND (:purpose IS NULL OR purpose = :purpose) AND {VISIBLE}
ORDER BY id {order} LIMIT :most
""")


# Lists up to `:most` files that clients see, whose keys lie between `:first` and `:behind`, those of one tenant or of
# all, behind the key `:after`, which may be NULL, as may `:purpose`. With a purpose, the lists also read the rows of
# other purposes.
OLDEST_FILES = _listed("ASC", "(:after IS NULL OR id > :after)")
NEWEST_FILES = _listed("DESC", "(:after IS NULL OR id < :after)")

# Finds the tenant's file with the key `:rest` behind its tenant, in the list of all tenants: reads two rows a tenant.
FILE_OF_SOME_TENANT = statement("""
WITH RECURSIVE found (tenant) AS (
  SELECT (SELECT tenant FROM files ORDER BY id LIMIT 1)
  UNION ALL
  SELECT (SELECT files.tenant FROM files WHERE id >= found.tenant || ';' ORDER BY id LIMIT 1)
  FROM found WHERE found.tenant IS NOT NULL
)
SELECT files.id FROM found CROSS JOIN files ON files.id = found.tenant || :rest LIMIT 1
""")

# --- Erasure --------------------------------------------------------------------------------------------------

# Reads what DELETE must know of a file: where it lies, whether clients see it, and whether a batch or task reads it.
FILE_STANDING = statement(f"""
SELECT state, place, {VISIBLE} AS visible, {IN_USE} AS in_use FROM files WHERE id = :file_key
""")


# Gives back the bytes of a file that the next statement marks for its erasure. Both statements see the same row, so the
# tenant's use changes exactly once.
_COUNTED = f"FROM files WHERE id = :file_key AND state = 'ready' AND NOT {IN_USE}"
GIVE_BACK = statement(f"""
UPDATE file_use SET bytes = bytes - (SELECT files.bytes {_COUNTED})
WHERE tenant = :tenant AND EXISTS (SELECT 1 {_COUNTED})
""")


def _mark(states: str) -> Statement:
    """Make the statement that marks a file for its erasure if it has one of the states and no batch reads it."""
    return statement(f"""
UPDATE files SET state = 'erasing', due_at = {NOW} WHERE id = :file_key AND state IN ({states}) AND NOT {IN_USE}
""")


# Marks a complete file for its erasure. Goes after GIVE_BACK.
DELETE_FILE = _mark("'ready'")
# Marks a file whose upload failed, or is ready if MAKE_READY's answer was lost. Goes after GIVE_BACK.
ABORT_UPLOAD = _mark("'writing', 'ready'")

# Finds files that the sweep must look at: forgotten uploads, expired files, and those marked for erasure.
DUE_FILES = statement(f"SELECT id, {NOW} AS now FROM files WHERE due_at <= {NOW} ORDER BY due_at LIMIT :most")

# The statements of TAKE_FILES mark those of the files in `:file_keys` that were due at `:now_ms`, the time of
# DUE_FILES, and give back their bytes. A file that a batch still reads is looked at again after `:in_use_ms`. A file
# that is to be erased is due again after `:again_ms`, in case its erasure fails.
_TAKEN = f"""id IN (SELECT value FROM json_each(:file_keys)) AND due_at <= :now_ms
  AND state = 'ready' AND NOT {IN_USE}"""
_KEPT = f"(state = 'growing' OR (state = 'ready' AND {IN_USE}))"
TAKE_FILES: tuple[Statement, ...] = (
    statement(f"""
UPDATE file_use SET bytes = bytes - (SELECT sum(files.bytes) FROM files WHERE {_TAKEN} AND tenant = file_use.tenant)
WHERE tenant IN (SELECT tenant FROM files WHERE {_TAKEN})
"""),
    statement(f"""
UPDATE files SET state = CASE WHEN {_KEPT} THEN state ELSE 'erasing' END,
  due_at = {NOW} + CASE WHEN {_KEPT} THEN :in_use_ms ELSE :again_ms END
WHERE id IN (SELECT value FROM json_each(:file_keys)) AND due_at <= :now_ms
RETURNING id, place, state
"""),
)

# The statements of REMOVE_FILES delete the rows of the files in `:file_keys`, whose parts are erased. Uploaded files
# leave a tombstone, because BEGIN_UPLOAD may still land. A tenant without files has no row in `file_use`.
_ERASED = "id IN (SELECT value FROM json_each(:file_keys)) AND state = 'erasing'"
REMOVE_FILES: tuple[Statement, ...] = (
    statement(f"""
INSERT INTO tombstones (id, until) SELECT 'file/' || id, {NOW} + :tombstone_ms FROM files
WHERE {_ERASED} AND owner IS NULL ON CONFLICT DO NOTHING
"""),
    statement(f"DELETE FROM file_use WHERE bytes = 0 AND tenant IN (SELECT tenant FROM files WHERE {_ERASED})"),
    statement(f"DELETE FROM files WHERE {_ERASED} RETURNING id"),
)


# --- Orphans --------------------------------------------------------------------------------------------------

# Names the places in `:places` whose parts have not been searched for orphans within the last `:apart_ms`.
WALKS_DUE = statement(f"""
SELECT value AS place FROM json_each(:places) WHERE NOT EXISTS (
  SELECT 1 FROM file_walks WHERE what = value AND at BETWEEN {NOW} - :apart_ms AND {NOW}
)
""")

# Takes the permit to search a page of parts for orphans: the caller that gets a row has the permit. If BEGIN_WALK lands
# late, the permit is taken but not used.
BEGIN_WALK = statement(f"""
INSERT INTO file_walks (what, after, at) VALUES (:shelf, '', {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
RETURNING after, at
""")

# Says which of the parts in `:parts`, a JSON list of [file key, name], no row of `files` names.
UNNAMED = statement("""
SELECT listed.value ->> 0 AS file_id, listed.value ->> 1 AS name FROM json_each(:parts) AS listed
WHERE NOT EXISTS (
  SELECT 1 FROM files CROSS JOIN json_each(files.parts) AS part
  WHERE files.id = listed.value ->> 0 AND part.value ->> 0 = listed.value ->> 1
)
""")

# Records where the search that began at `:at` goes on. Changes nothing once a later search has begun.
END_WALK = statement("UPDATE file_walks SET after = :cursor WHERE what = :shelf AND at = :at")

# --- Parts in D1 ----------------------------------------------------------------------------------------------

# Stores a part, whose bytes are hexadecimal digits. A part is only ever stored with the same bytes.
PUT_PART = statement(f"""
INSERT INTO file_parts (file_id, name, body, stored_at) VALUES (:file_key, :name, unhex(:body), {NOW})
ON CONFLICT DO UPDATE SET stored_at = excluded.stored_at
""")

# Reads `:size` bytes of a part from the one at `:first` on, counted from 1, as hexadecimal digits.
READ_PART = statement("""
SELECT hex(substr(body, :first, :size)) AS body FROM file_parts WHERE file_id = :file_key AND name = :name
""")

# Erases up to `:most` parts of a file.
ERASE_PARTS = statement("""
DELETE FROM file_parts WHERE file_id = :file_key
  AND name IN (SELECT name FROM file_parts WHERE file_id = :file_key LIMIT :most)
RETURNING 1
""")

# Erases the parts in `:parts`, a JSON list of [file key, name].
ERASE_SINGLE_PARTS = statement("""
DELETE FROM file_parts WHERE (file_id, name) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:parts))
""")

# Lists up to `:most` parts of all files, behind a part.
LIST_PARTS = statement("""
SELECT file_id, name, stored_at FROM file_parts WHERE (file_id, name) > (:file_key, :name)
ORDER BY file_id, name LIMIT :most
""")

# --- What a sweep looks for -------------------------------------------------------------------------------------

# Finds up to `:most` batches whose task has ended and whose files no writer is completing. A batch whose calls may
# still be recorded is left out: no writer may take it yet, and it would take the turn of another one.
UNWRITTEN = statement(f"""
SELECT task_id FROM batches CROSS JOIN tasks ON tasks.id = task_id
WHERE ended_at IS NULL AND writer_until <= {NOW} AND {IS_QUIET} ORDER BY writer_until LIMIT :most
""")

# Says whether a sweep has work with files: files to erase (forgotten, expired or deleted), or a search for parts that
# no row names. If there was ever a file, such a search is made once in `:apart_ms`. The statement also names up to
# `:most` batches whose files no writer is completing.
FILE_WORK = statement(f"""
SELECT EXISTS (SELECT 1 FROM files WHERE due_at <= {NOW})
  OR EXISTS (SELECT 1 FROM file_walks WHERE at NOT BETWEEN {NOW} - :apart_ms AND {NOW})
  OR (NOT EXISTS (SELECT 1 FROM file_walks) AND EXISTS (SELECT 1 FROM files)) AS wanted,
  (SELECT json_group_array(task_id) FROM ({UNWRITTEN.text})) AS unwritten
""")
