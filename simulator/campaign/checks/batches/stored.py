"""Reads the files of a world as its database and its bucket hold them."""

import json
import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.r2.bucket import StoredObject
from simulator.platform.world import World
from src.kernel.domain.ids import FileKey, file_id

_FILES = "SELECT id, state, purpose, place, bytes, parts, owner, expires_at, due_at FROM files"
_PARTS = "SELECT file_id, name, body FROM file_parts"
# A client may see a file with one of these states, so each of its parts must be there.
NAMING = frozenset({"growing", "ready"})


class FileRow(NamedTuple):
    """The columns of `files` that describe a file."""

    key: FileKey
    state: str
    purpose: str
    place: str
    bytes: int
    parts: str
    owner: str | None
    expires_at: int | None
    due_at: int | None

    @property
    def names(self) -> list[tuple[str, int]]:
        """The name and the size of each part."""
        return [(name, size) for name, size in json.loads(self.parts)]

    @property
    def tenant(self) -> str:
        """The tenant of the file."""
        return self.key.partition(":")[0]


def object_key(key: FileKey, name: str) -> str:
    """Return the key in the bucket of a part of a file."""
    return f"{key.partition(':')[0]}/{file_id(key)}/{name}"


class StoredFiles:
    """Reads the files of one world."""

    def __init__(self, world: World) -> None:
        self._connection: sqlite3.Connection = world.database.connection
        self.objects: Mapping[str, StoredObject] = world.servers.bucket.objects

    def rows(self) -> dict[FileKey, FileRow]:
        """Return the rows of all files."""
        return {FileKey(values[0]): FileRow(*values) for values in self._connection.execute(_FILES)}

    def row(self, key: FileKey) -> FileRow | None:
        """Return the row of a file, None if there is none."""
        found = self._connection.execute(f"{_FILES} WHERE id = ?", (key,)).fetchone()
        return None if found is None else FileRow(*found)

    def parts_in_d1(self) -> dict[tuple[FileKey, str], bytes]:
        """Return all parts in the database."""
        return {(FileKey(key), name): body for key, name, body in self._connection.execute(_PARTS)}

    def content(self, row: FileRow) -> bytes:
        """Return the bytes of a file. Raises InvariantBroken if a part is missing, or has another size."""
        in_d1 = self.parts_in_d1() if row.place == "d1" else {}
        found = []
        for name, size in row.names:
            stored = self.objects.get(object_key(row.key, name))
            body = in_d1.get((row.key, name)) if row.place == "d1" else None if stored is None else stored.body
            if body is None or len(body) != size:
                there = "is not there" if body is None else f"has {len(body)} bytes"
                raise InvariantBroken(f"{row.key}: its part {name} of {size} bytes {there}")
            found.append(body)
        return b"".join(found)
