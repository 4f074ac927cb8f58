"""A bucket in D1, for a deployment without R2. D1 returns a blob as a list of numbers, so bytes go as hexadecimal."""

from collections.abc import Iterator
from contextlib import contextmanager

from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing, BlobUnavailable, StoreError, StoreFull
from ....kernel.domain.ids import FileKey
from ....kernel.store import d1
from ....kernel.store.d1 import Database, as_json
from .. import sql
from ..file import Shelf
from . import Buffer, StoredPart


class MemoryBuffer:
    """Collects the bytes of a part in Python's memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.content = bytearray()

    def __len__(self) -> int:
        """Return how many bytes the buffer has."""
        return len(self.content)

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        assert len(self.content) + len(chunk) <= self._most, "a part is too long"
        self.content += chunk

    def clear(self) -> None:
        """Remove all bytes."""
        self.content = bytearray()

    free = clear


class D1Bucket:
    """Implements `Bucket` over the table `file_parts`."""

    shelf: Shelf = "d1"
    part_bytes = limits.FILE_PART_BYTES_IN_D1

    def __init__(self, database: Database) -> None:
        self._database = database

    def buffer(self) -> Buffer:
        """Return an empty buffer for one part."""
        return MemoryBuffer(self.part_bytes)

    async def put(self, file: FileKey, name: str, body: bytes | Buffer) -> None:
        """Store a part. A part that is stored again only gets the later time."""
        content = body if isinstance(body, bytes) else _content(body)
        with _as_bucket():
            await self._database.run(sql.PUT_PART.bind(file_key=file, name=name, body=content.hex()))

    async def read(self, file: FileKey, name: str, start: int, end: int) -> bytes:
        """Return a range of a part. Raises `BlobMissing` if the part is not there."""
        with _as_bucket():
            (found,) = await self._database.run(
                sql.READ_PART.bind(file_key=file, name=name, first=start + 1, size=end - start)
            )
        body = bytes.fromhex(d1.text(found[0], "body")) if found else b""
        if len(body) != end - start:
            raise BlobMissing("a part of a file is not in the database")
        return body

    async def open(self, file: FileKey, name: str, size: int) -> bytes:
        """Return a whole part. Raises `BlobMissing` if the part is not there."""
        return await self.read(file, name, 0, size)

    async def erase(self, file: FileKey) -> bool:
        """Erase parts of a file, at most FILE_ROWS_ERASED. Returns whether none is left."""
        with _as_bucket():
            (gone,) = await self._database.run(sql.ERASE_PARTS.bind(file_key=file, most=limits.FILE_ROWS_ERASED))
        return len(gone) < limits.FILE_ROWS_ERASED

    async def erase_parts(self, parts: list[tuple[FileKey, str]]) -> None:
        """Erase single parts."""
        with _as_bucket():
            await self._database.run(sql.ERASE_SINGLE_PARTS.bind(parts=as_json(parts)))

    async def listed(self, after: str, most: int) -> tuple[list[StoredPart], str]:
        """List parts of all files behind the cursor, which has a file's key, a slash and a part's name."""
        file, _, name = after.partition("/")
        with _as_bucket():
            (found,) = await self._database.run(sql.LIST_PARTS.bind(file_key=file, name=name, most=most))
        parts = [
            StoredPart(FileKey(d1.text(row, "file_id")), d1.text(row, "name"), d1.whole(row, "stored_at"))
            for row in found
        ]
        return parts, f"{parts[-1].file}/{parts[-1].name}" if len(parts) == most else ""


def _content(buffer: Buffer) -> bytearray:
    assert isinstance(buffer, MemoryBuffer), "a buffer of another bucket"
    return buffer.content


@contextmanager
def _as_bucket() -> Iterator[None]:
    """Raise errors of the database as errors of a bucket, except that the database is full."""
    try:
        yield
    except StoreFull:
        raise
    except StoreError as error:
        raise BlobUnavailable("the database that has the files cannot be reached") from error
