"""The protocol of a bucket, which stores the bytes of files in parts: in R2 (`r2`), or in D1 (`d1`) without R2."""

from typing import NamedTuple, Protocol

from ....kernel.domain.errors import BlobUnavailable
from ....kernel.domain.ids import FileKey
from ..file import Piped, Shelf


class BucketUnbound(BlobUnavailable):
    """A file lies in R2, and the deployment does not bind the bucket any more. Its operator must bind it again."""

    code = "bucket_unbound"


class PartAway(BlobUnavailable):
    """The bucket does not have a part of a file whose row says that the file is complete. The part may come back."""

    code = "file_part_away"


class Buffer(Protocol):
    """Collects the bytes of one part. On Workers its bytes lie outside of Python's memory."""

    def __len__(self) -> int:
        """Return how many bytes the buffer has."""
        ...

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end. The buffer may have at most the bucket's `part_bytes`."""
        ...

    def clear(self) -> None:
        """Remove all bytes, so that the buffer can be used for another part."""
        ...

    def free(self) -> None:
        """Release the memory at once: garbage outside of Python's memory may stay for long. Nothing may follow."""
        ...


class StoredPart(NamedTuple):
    """A part as the bucket lists it. `stored_at` is the bucket's time, ms since the epoch."""

    file: FileKey
    name: str
    stored_at: int


class Bucket(Protocol):
    """Stores parts of files. Each method raises `BlobUnavailable`, and `put` in D1 `StoreFull`."""

    shelf: Shelf
    part_bytes: int  # The size of each part of an uploaded file, except the last.

    def buffer(self) -> Buffer:
        """Return an empty buffer for one part, of up to `part_bytes`."""
        ...

    async def put(self, file: FileKey, name: str, body: bytes | Buffer) -> None:
        """Store a part, perhaps again with the same bytes. If `put` raises, the part may still land."""
        ...

    async def read(self, file: FileKey, name: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, exclusive, of a part. Raises `BlobMissing` if it is not there."""
        ...

    async def open(self, file: FileKey, name: str, size: int) -> bytes | Piped:
        """Return a whole part, which has `size` bytes, to be sent to a client. Raises `BlobMissing` as `read` does."""
        ...

    async def erase(self, file: FileKey) -> bool:
        """Erase a limited number of a file's parts, named in a row or not. Returns whether none is left."""
        ...

    async def erase_parts(self, parts: list[tuple[FileKey, str]]) -> None:
        """Erase single parts, up to 1,000."""
        ...

    async def listed(self, after: str, most: int) -> tuple[list[StoredPart], str]:
        """List up to `most` parts of all files by key, behind the cursor `after`; and the next one, '' at the end."""
        ...
