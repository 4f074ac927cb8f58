"""A bucket in R2. A part of a file is an object with the key `{tenant}/{file id}/{name}`.

A call to R2 is made again while R2 answers with a passing error, and is given up after BLOB_SECONDS without an answer.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing, BlobUnavailable
from ....kernel.domain.ids import FileKey, file_id, file_key_of
from ....kernel.domain.meter import Meter
from ..file import Piped, Shelf, tenant_of
from . import Buffer, StoredPart


class ListedObject(NamedTuple):
    """An object in a listing: its key, and when it was stored, in milliseconds since the epoch by R2's clock."""

    key: str
    stored_at: int


class R2(Protocol):
    """The part of the platform's binding to R2 that the store uses. R2's errors are raised as they come."""

    def buffer(self, most: int) -> Buffer:
        """Return an empty buffer for up to `most` bytes."""
        ...

    async def put(self, key: str, body: bytes | Buffer) -> None:
        """Store an object."""
        ...

    async def get(self, key: str, start: int, length: int) -> bytes | None:
        """Return a range of an object, None if there is no object with this key."""
        ...

    async def open(self, key: str, size: int) -> bytes | Piped | None:
        """Return an object of `size` bytes to be sent on, None if there is no such object."""
        ...

    async def delete(self, keys: list[str]) -> None:
        """Delete up to 1,000 objects. A key without an object is no error."""
        ...

    async def list(self, prefix: str, after: str, most: int) -> tuple[list[ListedObject], bool]:
        """List objects whose keys begin with `prefix`, behind the key `after`, and whether there are more of them."""
        ...


# The numbers at the end of R2's messages that say what another send would not change (R2, "Error codes"): the bucket or
# the right to use it is missing, or the request itself is refused.
_REFUSED = frozenset(
    {10002, 10003, 10004, 10005, 10006, 10008, 10010, 10011, 10012, 10013, 10014, 10015, 10020, 10021, 10022, 10025}
    | {10042, 10045, 10062, 10063}
)
_OUT_OF_RANGE = 10039
_CODE = re.compile(r"\((\d{5})\)\s*$")
# The messages of the platform that say that the invocation has used up its subrequests.
_SPENT = ("too many subrequests", "too many api requests by single worker invocation")


class R2Bucket:
    """Implements `Bucket` over R2. Each call to R2 is one subrequest."""

    shelf: Shelf = "r2"
    part_bytes = limits.FILE_PART_BYTES

    def __init__(self, binding: R2, meter: Meter, *, seconds: float = limits.BLOB_SECONDS) -> None:
        self._binding = binding
        self._meter = meter
        self._seconds = seconds

    def buffer(self) -> Buffer:
        """Return an empty buffer for one part."""
        return self._binding.buffer(self.part_bytes)

    async def put(self, file: FileKey, name: str, body: bytes | Buffer) -> None:
        """Store a part."""
        key = _prefix(file) + name
        await self._call(lambda: self._binding.put(key, body))

    async def read(self, file: FileKey, name: str, start: int, end: int) -> bytes:
        """Return a range of a part. Raises `BlobMissing` if the part is not there, or shorter than its row says."""
        if start == end:
            return b""
        key = _prefix(file) + name
        body = await self._call(lambda: self._binding.get(key, start, end - start))
        if body is None or len(body) != end - start:
            raise BlobMissing("a part of a file is not in the bucket")
        return body

    async def open(self, file: FileKey, name: str, size: int) -> bytes | Piped:
        """Return a whole part, which R2 sends on. Raises `BlobMissing` without a part of this size."""
        key = _prefix(file) + name
        found = await self._call(lambda: self._binding.open(key, size))
        if found is None:
            raise BlobMissing("a part of a file is not in the bucket")
        return found

    async def erase(self, file: FileKey) -> bool:
        """Erase parts of a file, at most BLOB_KEYS_MOST. Returns whether none is left. Makes two calls at most."""
        prefix = _prefix(file)
        objects, more = await self._call(lambda: self._binding.list(prefix, "", limits.BLOB_KEYS_MOST))
        if objects:
            await self._call(lambda: self._binding.delete([one.key for one in objects]))
        return not more

    async def erase_parts(self, parts: list[tuple[FileKey, str]]) -> None:
        """Erase single parts, up to BLOB_KEYS_MOST."""
        if parts:
            await self._call(lambda: self._binding.delete([_prefix(file) + name for file, name in parts]))

    async def listed(self, after: str, most: int) -> tuple[list[StoredPart], str]:
        """List parts of all files behind the cursor, which is an object's key. Objects of others are left out."""
        objects, more = await self._call(lambda: self._binding.list("", after, most))
        found = [part for part in map(_stored_part, objects) if part is not None]
        return found, objects[-1].key if more and objects else ""

    async def _call[Answer](self, make: Callable[[], Awaitable[Answer]]) -> Answer:
        for send in range(1, limits.BLOB_SENDS + 1):
            self._meter.spend()
            try:
                async with asyncio.timeout(self._seconds):
                    return await make()
            except TimeoutError:
                raise BlobUnavailable("the bucket gave no answer in time") from None
            except Exception as error:
                text = str(error).lower()
                code = _code(text)
                if code == _OUT_OF_RANGE:
                    raise BlobMissing("a part of a file is shorter than its row says") from error
                if send == limits.BLOB_SENDS or code in _REFUSED or any(mark in text for mark in _SPENT):
                    raise BlobUnavailable("the bucket cannot be reached") from error
            await asyncio.sleep(limits.BLOB_RESEND_SECONDS * send)
        raise AssertionError("unreachable: the last send returns or raises")


def _code(text: str) -> int | None:
    """Return the number at the end of R2's message, None without one."""
    found = _CODE.search(text)
    return int(found[1]) if found else None


def _prefix(file: FileKey) -> str:
    """Return what the keys of all parts of a file begin with."""
    return f"{tenant_of(file)}/{file_id(file)}/"


def _stored_part(listed: ListedObject) -> StoredPart | None:
    """Read an object's key, None if it is no key of a part."""
    tenant, _, rest = listed.key.partition("/")
    name, _, part = rest.partition("/")
    key = file_key_of(tenant, name)
    return StoredPart(key, part, listed.stored_at) if key is not None and part else None
