"""Reads rows of files, and rows of the work with files that a sweep finds."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ...core.files import File, FileKey, FilePart, Place, Purpose
from ..d1 import columns
from ..d1.database import Row


class DueFile(NamedTuple):
    """A file that the sweep must erase or check."""

    key: FileKey
    place: Place


class FileWork(NamedTuple):
    """The work with files that a sweep finds: files to erase or check, and places to search for parts that no file has.

    `now_ms` is the database's time.
    """

    now_ms: int
    files: Sequence[DueFile]
    places: Sequence[Place]


def place_of(row: Row) -> Place:
    """Return where the parts of a file are stored."""
    return "r2" if row["place"] == "r2" else "d1"


def file_of(row: Row) -> File:
    """Return the file that a row describes."""
    return File(
        key=FileKey(columns.text(row, "id")),
        purpose=Purpose(columns.text(row, "purpose")),
        filename=columns.text(row, "filename"),
        bytes=columns.whole(row, "bytes"),
        parts=tuple(FilePart(name, size) for name, size in json.loads(columns.text(row, "parts"))),
        created_at=columns.whole(row, "created_at"),
        expires_at=columns.maybe_whole(row, "expires_at"),
        owner=columns.maybe_text(row, "owner"),
        growing=row["state"] == "growing",
        place=place_of(row),
    )


def keys_of(tenant: str | None) -> tuple[str, str]:
    """Return a text before all keys of a tenant, and one behind them. Without a tenant: of the keys of all tenants."""
    return ("", "~") if tenant is None else (f"{tenant}:", f"{tenant};")
