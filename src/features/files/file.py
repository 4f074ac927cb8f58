"""The data of a file: its key, purpose and parts. Times are milliseconds since the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from ...kernel.domain.ids import FileKey, file_id

Shelf = Literal["r2", "d1"]  # Where the bytes of the parts are stored: R2 or D1.


class Piped(Protocol):
    """A file's bytes that the platform sends straight to a client, without reading them into Python's memory."""

    async def pipe_to(self, writable: object) -> None:
        """Send the file's bytes to a stream of the platform. Errors of the platform are raised unchanged."""
        ...


class Purpose(StrEnum):
    """What a file is used for: the requests of a batch, a long text, or the answers of a batch."""

    BATCH = "batch"
    USER_DATA = "user_data"
    BATCH_OUTPUT = "batch_output"


class FilePart(NamedTuple):
    """A part of a file: the part's name in the bucket, and how many bytes it has."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that clients can read. `growing` says that a batch still adds parts to it."""

    key: FileKey
    purpose: Purpose
    filename: str
    bytes: int
    parts: tuple[FilePart, ...]
    created_at: int
    expires_at: int | None = None  # None: the file is kept until it is deleted, or as long as its owner.
    owner: str | None = None  # The key of the task whose output the file is; None for a file that a client uploaded.
    growing: bool = False
    shelf: Shelf = "r2"

    @property
    def id(self) -> str:
        """The id by which clients know the file."""
        return file_id(self.key)


def tenant_of(file: FileKey) -> str:
    """Return the tenant of a file."""
    return file.partition(":")[0]


def touches(ranges: Sequence[range], start: int, end: int) -> bool:
    """Whether the bytes from `start` to `end`, exclusive, share a byte with one of the ranges."""
    return any(one.start < end and start < one.stop for one in ranges)
