"""Checks files at each write: no part that a row names goes, no name has two contents, no tenant has another's file.

A file only takes allowed steps, and each tenant's use is the sum of its files. Once faults have stopped, no part is
left that no row names.
"""

import asyncio
from collections import Counter

from simulator.campaign.checks.batches.stored import NAMING, FileRow, StoredFiles, object_key
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.domain import limits
from src.kernel.domain.ids import FileKey

FILES_JUDGED = "files whose parts had to be there"
ORPHANS_JUDGED = "parts that no row named once all was quiet, erased"
# The longest time, in seconds, from the moment when a part is old enough to be an orphan until it is erased: a search
# passes a page of parts, and the next search comes as long after it as the limit says.
SEARCHES_MOST = 6
LOOK_SECONDS = 30.0
_STEPS = {
    (None, "writing"),
    (None, "growing"),
    ("writing", "ready"),
    ("writing", "erasing"),
    ("growing", "ready"),
    ("growing", "growing"),
    ("ready", "ready"),
    ("ready", "erasing"),
    ("writing", "writing"),
    ("erasing", "erasing"),
    ("erasing", None),
    ("growing", None),
}
_USE = "SELECT tenant, bytes FROM file_use WHERE bytes <> 0"
_INPUTS = "SELECT task_id, input_file FROM batches WHERE ended_at IS NULL"


class FileChecks:
    """The files of one world. `judged` counts what was checked."""

    def __init__(self, world: World, judged: Counter[str]) -> None:
        self.known: set[FileKey] = set()  # All files that ever had a row.
        self._world = world
        self._judged = judged
        self._stored = StoredFiles(world)
        self._rows: dict[FileKey, FileRow] = {}
        self._contents: dict[str, bytes] = {}
        world.database.observers.append(self._written)
        world.servers.bucket.observers.append(self._changed)

    def _written(self) -> None:
        """Check the rows of all files after a write to the database."""
        rows, before = self._stored.rows(), self._rows
        if rows == before:
            return
        self._rows = rows
        for key in rows.keys() | before.keys():
            self._step(key, before.get(key), rows.get(key))
        self.known |= rows.keys()
        uses: Counter[str] = Counter()
        for row in rows.values():
            uses[row.tenant] += row.bytes if row.state in NAMING else 0
        found = dict(self._world.database.connection.execute(_USE).fetchall())
        if found != +uses:
            raise InvariantBroken(f"the tenants' files have {dict(+uses)} bytes, and {found} are counted")
        self._check_parts()
        for task_id, key in self._world.database.connection.execute(_INPUTS):
            if key not in rows or rows[key].state != "ready":
                raise InvariantBroken(f"{task_id} goes on, and its input file is {rows.get(key)}")

    def _step(self, key: FileKey, was: FileRow | None, row: FileRow | None) -> None:
        states = (None if was is None else was.state), (None if row is None else row.state)
        if states not in _STEPS:
            raise InvariantBroken(f"{key}: {states[0]} became {states[1]}")
        if was is None and key in self.known:
            raise InvariantBroken(f"{key} is back after it was erased")
        if states == ("growing", None) and was is not None and was.names:
            raise InvariantBroken(f"{key}: an output file with lines is gone")
        if was is None or row is None or was.parts == row.parts or was.state == "writing":
            return
        grows = was.state == "growing" and row.names[: len(was.names)] == was.names
        if not grows or row.bytes != sum(size for _, size in row.names):
            raise InvariantBroken(f"{key}: its parts were {was.parts}, and are {row.parts}")

    def _check_parts(self) -> None:
        """Check that each part that a row names is there."""
        for row in self._rows.values():
            if row.state in NAMING:
                self._stored.content(row)
                self._judged[FILES_JUDGED] += 1

    def _changed(self) -> None:
        """Check the objects after a change of the bucket."""
        for key, stored in self._stored.objects.items():
            if self._contents.setdefault(key, stored.body) != stored.body:
                raise InvariantBroken(f"{key} in the bucket has had two contents")
        self._check_parts()

    def _unnamed(self) -> set[str]:
        """Return the keys of the parts that no row names."""
        named = {object_key(row.key, name) for row in self._rows.values() for name, _ in row.names}
        there = [*self._stored.objects, *(object_key(*part) for part in self._stored.parts_in_d1())]
        return {key for key in there if key not in named}

    async def all_swept(self) -> None:
        """Once faults have stopped, wait until no part is left that no row names. Raises InvariantBroken.

        No file is left that was to be erased, or whose upload has failed.
        """
        seconds = limits.ORPHAN_SECONDS + limits.UPLOAD_SECONDS_MOST + SEARCHES_MOST * limits.ORPHANS_APART_SECONDS
        deadline = self._world.loop.now() + seconds
        self._judged[ORPHANS_JUDGED] += len(self._unnamed())
        while left := sorted(self._unnamed() | self._doomed()):
            if self._world.loop.now() > deadline:
                raise InvariantBroken(f"{left[0]} is left {seconds} s after the last fault, and nothing needs it")
            await asyncio.sleep(LOOK_SECONDS)

    def _doomed(self) -> set[str]:
        return {row.key for row in self._rows.values() if row.state in {"writing", "erasing"}}
