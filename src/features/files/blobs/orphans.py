"""The search for orphans: parts in a bucket that no row names, such as those of a put that landed after an erasure.

Each search passes one page of the bucket, from where the last one ended. Only parts older than a day are erased,
because the row of a younger one may still be written.
"""

from ....kernel.domain import limits
from ....kernel.domain.ids import FileKey
from ....kernel.store import d1
from ....kernel.store.d1 import Database, as_json
from .. import sql
from . import Bucket

APART_MS = limits.ORPHANS_APART_SECONDS * 1000


async def erase_orphans(database: Database, bucket: Bucket, most: int) -> int:
    """Search up to `most` parts once an hour for orphans, erase and count them. After an error that page is next."""
    (permit,) = await database.run(sql.BEGIN_WALK.bind(shelf=bucket.shelf, apart_ms=APART_MS))
    if not permit:
        return 0
    at = d1.whole(permit[0], "at")
    parts, cursor = await bucket.listed(d1.text(permit[0], "after"), most)
    old = [(part.file, part.name) for part in parts if part.stored_at <= at - limits.ORPHAN_SECONDS * 1000]
    orphans: list[tuple[FileKey, str]] = []
    if old:
        (found,) = await database.run(sql.UNNAMED.bind(parts=as_json(old)))
        orphans = [(FileKey(d1.text(row, "file_id")), d1.text(row, "name")) for row in found]
    if orphans:
        await bucket.erase_parts(orphans)
    await database.run(sql.END_WALK.bind(shelf=bucket.shelf, at=at, cursor=cursor))
    return len(orphans)
