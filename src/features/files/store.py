"""Reads and writes files: their rows in D1, by the SQL in `sql`, and their parts in a bucket.

The row of an upload is written first, then its parts, and then the write that names the parts and makes the file ready.
A file is erased in the other direction: its row is marked, then its parts are erased, then the row.
"""

import json
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from ...kernel.domain import limits
from ...kernel.domain.errors import BlobMissing, BlobUnavailable, StoreError, StoreFull
from ...kernel.domain.ids import FileKey
from ...kernel.run.invocation import Invocation
from ...kernel.store import d1
from ...kernel.store.d1 import Database, Row, Store, as_json
from ...kernel.store.ending import TOMBSTONE_MS
from . import sql
from .blobs import Bucket, BucketUnbound, PartAway
from .blobs.d1 import D1Bucket
from .file import File, FilePart, Piped, Purpose, Shelf, tenant_of


class FileWork(NamedTuple):
    """What a sweep has to do with files, and with places of orphans. `now_ms` is the database's time."""

    now_ms: int
    files: Sequence[FileKey]
    shelves: Sequence[Shelf]


def shelf_of(row: Row) -> Shelf:
    """Return where the parts of a file are stored."""
    return "r2" if row["place"] == "r2" else "d1"


def file_of(row: Row) -> File:
    """Return the file that a row describes."""
    return File(
        key=FileKey(d1.text(row, "id")),
        purpose=Purpose(d1.text(row, "purpose")),
        filename=d1.text(row, "filename"),
        bytes=d1.whole(row, "bytes"),
        parts=tuple(FilePart(name, size) for name, size in json.loads(d1.text(row, "parts"))),
        created_at=d1.whole(row, "created_at"),
        expires_at=d1.maybe_whole(row, "expires_at"),
        owner=d1.maybe_text(row, "owner"),
        growing=row["state"] == "growing",
        shelf=shelf_of(row),
    )


def keys_of(tenant: str | None) -> tuple[str, str]:
    """Return a text before all keys of a tenant, and one behind them. Without a tenant: of the keys of all tenants."""
    return ("", "~") if tenant is None else (f"{tenant}:", f"{tenant};")


APART_MS = limits.ORPHANS_APART_SECONDS * 1000
_FORGET_MS = limits.MISS_KEPT_SECONDS * 1000
_UPLOAD_MS = limits.UPLOAD_SECONDS_MOST * 1000


class FilesFull(NamedTuple):
    """The refusal of a file that would give the tenant's files more than `most` bytes. They have `used` bytes now."""

    used: int
    most: int


class TooManyFiles(NamedTuple):
    """The refusal of a file of a tenant who has `most` files already."""

    most: int


class FileStore(Store):
    """Reads and writes files. Every write is safe to send again, and safe to land late.

    `bucket` stores the parts of new files: in R2, or in D1 if no bucket is given. Files of both places can be read, so
    a deployment that gets a bucket later keeps its files. Methods that read or erase parts may raise `BlobUnavailable`.
    """

    def __init__(self, database: Database, bucket: Bucket | None = None) -> None:
        super().__init__(database)
        in_d1 = D1Bucket(database)
        self.bucket: Bucket = bucket or in_d1
        self._buckets: dict[Shelf, Bucket] = {"d1": in_d1, self.bucket.shelf: self.bucket}
        self._missed: set[tuple[FileKey, str]] = set()  # The parts whose files' rows have a note that they are missing.

    # --- Upload ---------------------------------------------------------------------------------------------------

    async def begin(
        self, key: FileKey, now_created: int, files_most: int = limits.FILES_MOST, storage_most: float = math.inf
    ) -> TooManyFiles | None:
        """Write the row of a new file, before its first part. `now_created` is when the file was made, ms.

        Returns TooManyFiles, and writes nothing, if the tenant has `files_most` files already. Raises StoreFull if the
        file would lie in the database, and its size exceeds the share FILES_FRACTION of `storage_most` bytes: the rest
        is for tasks. The row may then have been written.
        """
        self._check_share(storage_most)
        shelf = self.bucket.shelf
        *_, (row,) = await self._database.run(
            sql.BEGIN_UPLOAD.bind(
                file_key=key,
                shelf=shelf,
                created_at=now_created,
                upload_ms=_UPLOAD_MS,
                grave=f"file/{key}",
                files_most=files_most,
                first=f"{tenant_of(key)}:",
                behind=f"{tenant_of(key)};",
            ),
            sql.BEGIN_WALKS.bind(file_key=key, shelf=shelf),
            sql.UPLOAD_BEGUN.bind(file_key=key),
        )
        self._check_share(storage_most)  # the reply has told the size
        return None if row["begun"] else TooManyFiles(files_most)

    def _check_share(self, storage_most: float) -> None:
        if self.bucket.shelf == "d1" and self._database.storage.size >= limits.FILES_FRACTION * storage_most:
            raise StoreFull("the database has reached the share of STORAGE_MB_MOST up to which it takes files")

    async def ready(
        self,
        key: FileKey,
        *,
        purpose: Purpose,
        filename: str,
        parts: Sequence[FilePart],
        keeps_ms: int | None,
        use_most: int,
    ) -> File | FilesFull | None:
        """Make an uploaded file visible, after all of its parts were stored.

        The file expires `keeps_ms` after its creation; None if it is kept until it is deleted. Returns FilesFull if the
        tenant's files would have more than `use_most` bytes, and None if the file is gone, because its upload has taken
        too long or was aborted.
        """
        size = sum(part.bytes for part in parts)
        late, add, ready, take_back = sql.MAKE_READY
        *_, found = await self._database.run(
            late.bind(file_key=key),
            add.bind(file_key=key, tenant=tenant_of(key), bytes=size),
            ready.bind(
                file_key=key,
                tenant=tenant_of(key),
                purpose=purpose,
                filename=filename,
                bytes=size,
                parts=as_json(parts),
                keeps_ms=keeps_ms,
                use_most=use_most,
            ),
            take_back.bind(file_key=key, tenant=tenant_of(key), bytes=size),
            sql.READY_OUTCOME.bind(file_key=key),
        )
        if not found:
            return None
        (row,) = found
        return file_of(row) if row["state"] == "ready" else FilesFull(d1.whole(row, "used"), use_most)

    async def abort(self, key: FileKey) -> None:
        """Mark a failed upload for erasure, and erase the parts that are there; the sweep erases the rest."""
        *_, standing = await self._database.run(
            sql.GIVE_BACK.bind(file_key=key, tenant=tenant_of(key)),
            sql.ABORT_UPLOAD.bind(file_key=key),
            sql.FILE_STANDING.bind(file_key=key),
        )
        if standing and standing[0]["state"] == "erasing":
            await self._try_to_erase(key, shelf_of(standing[0]))

    # --- Reads ----------------------------------------------------------------------------------------------------

    async def file(self, key: FileKey) -> File | None:
        """Read a file that clients see: growing or ready, and not expired."""
        (found,) = await self._database.run(sql.FIND_FILE.bind(file_key=key))
        if not found:
            return None
        self._missed.update((key, name) for name in json.loads(d1.maybe_text(found[0], "missing") or "{}"))
        return file_of(found[0])

    async def files(
        self, tenant: str | None, *, purpose: Purpose | None, after: FileKey | None, most: int, newest_first: bool
    ) -> list[File]:
        """List up to `most` files of a tenant, or of each tenant in turn, by creation: those behind `after`."""
        listed = sql.NEWEST_FILES if newest_first else sql.OLDEST_FILES
        first, behind = keys_of(tenant)
        page = listed.bind(first=first, behind=behind, purpose=purpose, after=after, most=most)
        (found,) = await self._database.run(page)
        return [file_of(row) for row in found]

    async def of_some_tenant(self, digits: str) -> FileKey | None:
        """Find a file of any tenant by the part of its key behind the tenant."""
        (found,) = await self._database.run(sql.FILE_OF_SOME_TENANT.bind(rest=f":{digits}"))
        return FileKey(d1.text(found[0], "id")) if found else None

    async def read(self, file: File, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, exclusive, of a file: at most FILE_READ_BYTES_MOST.

        Each part that the range touches is one call. If the bucket does not have a part, the file's row decides. While
        clients see the file, that is an outage for LOST_PART_SECONDS, `BlobUnavailable`: the bucket may be wrong for a
        moment, or another one is bound by mistake. After that, and if the file was erased since its row was read, the
        part is gone: `BlobMissing`.
        """
        assert 0 <= start <= end <= file.bytes, "a range outside of the file"
        assert end - start <= limits.FILE_READ_BYTES_MOST, "a range too long to be read at once"
        found: list[bytes] = []
        at = 0
        for part in file.parts:
            first, last = max(start - at, 0), min(end - at, part.bytes)
            if first < last:
                found.append(await self._read(file, part.name, first, last))
            at += part.bytes
        return found[0] if len(found) == 1 else b"".join(found)

    async def lost(self, file: File) -> list[range]:
        """Return the bytes of a file that are gone for long enough, and note each part that is missing."""
        bucket, missing = self.bucket_of(file.shelf), set[str]()
        for part in file.parts:
            try:
                await bucket.read(file.key, part.name, part.bytes - 1, part.bytes)
            except BlobMissing:
                missing.add(part.name)
        gone, found, at = await self._gone(file.key, missing), list[range](), 0
        for part in file.parts:
            if part.name in gone:
                found.append(range(at, at + part.bytes))
            at += part.bytes
        return found

    async def _read(self, file: File, name: str, first: int, last: int) -> bytes:
        try:
            content = await self.bucket_of(file.shelf).read(file.key, name, first, last)
        except BlobMissing as error:
            if await self._gone(file.key, {name}):
                raise
            raise PartAway("a part of a file is not in the bucket now") from error
        if (file.key, name) in self._missed:
            with suppress(StoreError):  # else the next reader removes the note
                await self._database.run(sql.FIND_PART.bind(file_key=file.key, name=name))
                self._missed.discard((file.key, name))
        return content

    async def _gone(self, key: FileKey, missing: set[str]) -> set[str]:
        """Note that a file's parts are missing in the bucket, and return those that will not come back."""
        self._missed.update((key, name) for name in missing)
        try:
            (found,) = await self._database.run(
                sql.MISS_PARTS.bind(file_key=key, names=as_json(sorted(missing)), forget_ms=_FORGET_MS)
            )
        except StoreError:
            return set()
        if not found:
            return missing
        lost_by = d1.whole(found[0], "now") - limits.LOST_PART_SECONDS * 1000
        notes: dict[str, tuple[int, int]] = json.loads(d1.text(found[0], "missing"))
        return {name for name in missing if notes[name][0] <= lost_by}

    async def pieces(self, file: File) -> AsyncGenerator[bytes | Piped]:
        """Open the parts to be sent, each by a call. Raises `BlobMissing` for one erased since its row was read."""
        bucket = self.bucket_of(file.shelf)
        for part in file.parts:
            yield await bucket.open(file.key, part.name, part.bytes)

    # --- Erasure --------------------------------------------------------------------------------------------------

    async def delete(self, key: FileKey) -> bool | None:
        """Hide a file and erase its parts, or leave them to the sweep. False: it is in use and stays. None: no file."""
        standing, *_ = await self._database.run(
            sql.FILE_STANDING.bind(file_key=key),
            sql.GIVE_BACK.bind(file_key=key, tenant=tenant_of(key)),
            sql.DELETE_FILE.bind(file_key=key),
        )
        if not standing:
            return None
        (row,) = standing
        if row["in_use"] or row["state"] == "growing":
            return False
        # After a lost answer, the row is already marked by the send before.
        was_sent = row["state"] == "erasing" and self._database.sends > 1
        if not (row["visible"] or was_sent):
            return None
        await self._try_to_erase(key, shelf_of(row))
        return True

    async def work(self, most: int) -> FileWork:
        """Find what a sweep must do: up to `most` files to look at, and places to search for orphans."""
        found, places = await self._database.run(
            sql.DUE_FILES.bind(most=most),
            sql.WALKS_DUE.bind(places=as_json(list(self._buckets)), apart_ms=APART_MS),
        )
        now_ms = d1.whole(found[0], "now") if found else 0
        due = [FileKey(d1.text(row, "id")) for row in found]
        return FileWork(now_ms, due, [shelf_of(row) for row in places])

    async def erase(self, work: FileWork) -> int:
        """Erase the files still due, and count them. Raises `BlobUnavailable` at the first that fails."""
        if not work.files:
            return 0
        use, mark = sql.TAKE_FILES
        names = as_json(work.files)
        _, found = await self._database.run(
            use.bind(file_keys=names, now_ms=work.now_ms),
            mark.bind(
                file_keys=names,
                now_ms=work.now_ms,
                in_use_ms=limits.FILE_IN_USE_SECONDS * 1000,
                again_ms=limits.FILE_ERASE_SECONDS * 1000,
            ),
        )
        erased: list[FileKey] = []
        try:
            for row in found:
                key = FileKey(d1.text(row, "id"))
                if row["state"] == "erasing" and await self.bucket_of(shelf_of(row)).erase(key):
                    erased.append(key)
        finally:
            gone = await self._remove(erased)
        return gone

    async def erase_orphans(self, most: int) -> int:
        """Search up to `most` parts of each place for orphans older than a day, once an hour; erase and count them.

        Orphans are parts that no row names, such as those of a put that landed after an erasure. Each search passes one
        page of a bucket, from where the last one ended; after an error that page is next.
        """
        return sum([await self._erase_orphans(bucket, most) for bucket in self._buckets.values()])

    async def _erase_orphans(self, bucket: Bucket, most: int) -> int:
        (permit,) = await self._database.run(sql.BEGIN_WALK.bind(shelf=bucket.shelf, apart_ms=APART_MS))
        if not permit:
            return 0
        at = d1.whole(permit[0], "at")
        parts, cursor = await bucket.listed(d1.text(permit[0], "after"), most)
        # The row of a younger part may still be written.
        old = [(part.file, part.name) for part in parts if part.stored_at <= at - limits.ORPHAN_SECONDS * 1000]
        orphans: list[tuple[FileKey, str]] = []
        if old:
            (found,) = await self._database.run(sql.UNNAMED.bind(parts=as_json(old)))
            orphans = [(FileKey(d1.text(row, "file_id")), d1.text(row, "name")) for row in found]
        if orphans:
            await bucket.erase_parts(orphans)
        await self._database.run(sql.END_WALK.bind(shelf=bucket.shelf, at=at, cursor=cursor))
        return len(orphans)

    async def _try_to_erase(self, key: FileKey, shelf: Shelf) -> None:
        """Erase a marked file. If the bucket does not answer, the sweep erases the file."""
        try:
            if await self.bucket_of(shelf).erase(key):
                await self._remove([key])
        except BlobUnavailable:
            return

    async def _remove(self, keys: Sequence[FileKey]) -> int:
        """Delete the rows of files whose parts are erased."""
        if not keys:
            return 0
        names = as_json(keys)
        bury, unused, rows = sql.REMOVE_FILES
        *_, gone = await self._database.run(
            bury.bind(file_keys=names, tombstone_ms=TOMBSTONE_MS),
            unused.bind(file_keys=names),
            rows.bind(file_keys=names),
        )
        return len(gone)

    def bucket_of(self, shelf: Shelf) -> Bucket:
        """Return the bucket with a file's parts. Raises `BucketUnbound` for R2 without the binding."""
        bucket = self._buckets.get(shelf)
        if bucket is None:
            raise BucketUnbound("the file lies in R2, and the binding BLOBS is missing")
        return bucket


def file_store(invocation: Invocation) -> FileStore:
    """Make the store of files, whose new parts lie in the deployment's bucket, or without one in D1."""
    return FileStore(invocation.database, cast("Bucket | None", invocation.bucket()))
