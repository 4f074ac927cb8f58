"""Stories about files: uploads, lists, deletions, expiry, and parts that no row names."""

from typing import Any

from src.features.files.file import FilePart, Purpose
from src.kernel.domain import limits
from src.kernel.domain.ids import FileKey
from tests.conformance.cases.registry import attempt
from tests.conformance.cases.storyteller import Story, made_key, tells

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FILE = FileKey(made_key(1))
OTHER = FileKey(made_key(2))


async def _upload(story: Story, key: FileKey = FILE, *, keeps_ms: int | None = None, use_most: int = 100) -> Any:
    files = story.files
    await files.begin(key, 1)
    for name, body in (("0", b"abc"), ("1", b"\x00\xff")):
        await files.bucket.put(key, name, body)
    parts = [FilePart("0", 3), FilePart("1", 2)]
    ready = files.ready(
        key, purpose=Purpose.BATCH, filename="名.jsonl", parts=parts, keeps_ms=keeps_ms, use_most=use_most
    )
    return await ready


@tells(Story)
async def a_file_is_uploaded_read_and_deleted(story: Story) -> None:
    files = story.files
    file = await _upload(story)
    await _upload(story)
    story.outcomes += [
        await files.file(FILE) == file,
        await files.read(file, 1, 5),
        await _upload(story, OTHER, use_most=9),
    ]
    await files.abort(OTHER)
    for newest_first in (False, True):
        for after in (None, FILE):
            listed = files.files("local", purpose=Purpose.BATCH, after=after, most=9, newest_first=newest_first)
            story.outcomes.append(len(await listed))
    await story.note("SELECT tenant, bytes FROM file_use")
    story.outcomes += [await files.delete(FILE), await files.delete(FILE)]
    await story.note("SELECT id FROM files")
    await story.note("SELECT id FROM tombstones ORDER BY id")
    await files.begin(FILE, 1)


@tells(Story)
async def a_file_in_use_stays_and_expires_later(story: Story) -> None:
    files = story.files
    await _upload(story, keeps_ms=1)
    await story.alter(
        "INSERT INTO tasks (id, status, route, reduce, metadata, total, merge_chars, calls_minimum, "
        "created_at, wake_at)"
        " VALUES ('local:b', 'pending', 'direct', 'none', '{}', 0, 1, 0, 0, 0)"
    )
    await story.alter(
        "INSERT INTO batches (task_id, endpoint, window_ms, input_file, output_file, error_file)"
        " VALUES ('local:b', '/v1/responses', 1, ?1, 'local:o', 'local:e')",
        FILE,
    )
    story.outcomes += [
        await files.delete(FILE),
        await files.erase(await files.work(9)),
        await files.file(FILE) is not None,
    ]
    await story.alter("UPDATE batches SET ended_at = 1")
    await story.alter("UPDATE files SET due_at = 1")
    story.outcomes += [await files.file(FILE), await files.erase(await files.work(9))]
    await files.begin(OTHER, 1)
    await story.alter("UPDATE files SET due_at = 1")
    story.outcomes.append(await files.erase(await files.work(9)))
    await story.note("SELECT id FROM files")
    await story.note("SELECT * FROM file_use")


@tells(Story)
async def a_part_that_is_missing_is_waited_for(story: Story) -> None:
    files, lost_ms = story.files, 1000 * limits.LOST_PART_SECONDS
    file = await _upload(story)
    assert file is not None

    async def look() -> None:
        found = await files.file(FILE)
        assert found is not None
        story.outcomes.append(await attempt(files.read(found, 0, found.bytes)))
        await story.note("SELECT missing ->> '$.\"1\"[0]' > 0 AS is_noted FROM files")

    await story.alter("UPDATE file_parts SET name = 'gone' WHERE name = '1'")
    await look()
    await story.alter("UPDATE files SET missing = json_set(missing, '$.\"1\"[0]', ?1)", 1)
    await look()
    story.outcomes.append(await files.lost(file))
    await story.alter("UPDATE files SET missing = json_set(missing, '$.\"1\"[1]', ?1)", lost_ms)  # too long ago
    await look()
    await story.alter("UPDATE file_parts SET name = '1' WHERE name = 'gone'")
    await look()


@tells(Story)
async def parts_without_a_row_are_erased(story: Story) -> None:
    files = story.files
    await _upload(story)
    await files.bucket.put(OTHER, "late", b"abc")
    await files.bucket.put(FILE, "unnamed", b"abc")
    story.outcomes += [await files.erase_orphans(2), await files.erase_orphans(2)]
    await story.alter("UPDATE file_parts SET stored_at = stored_at - ?1", DAY_MS)
    for _ in range(3):
        await story.alter("UPDATE file_walks SET at = at - ?1", HOUR_MS)
        story.outcomes.append(await files.erase_orphans(2))
    await story.note("SELECT file_id, name FROM file_parts ORDER BY 1, 2")
    story.outcomes.append(await attempt(files.bucket.read(OTHER, "late", 0, 1)))
