"""Reads the outputs that a world holds: those in its database, and the lines of batches that have become objects."""

from collections import defaultdict
from functools import lru_cache

from simulator.campaign.checks.batches.stored import NAMING, StoredFiles
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.store import segments

type OutputKey = tuple[TaskKey, str, str]  # The key of an output: its task, its merge level and its index in the level.

_SEGMENTS = "SELECT task_id, level, places, hex(body), object, sizes FROM segments ORDER BY task_id, level, part"
_OUTPUT_FILES = "SELECT task_id, output_file FROM batches"


class Recorded:
    """Reads the outputs of one world whenever they have changed.

    `lines` has the lines of each batch's output file so far, in the order of the file. They stay when the file is gone.
    """

    def __init__(self, world: World) -> None:
        self.lines: dict[TaskKey, list[str]] = {}
        self._connection = world.database.connection
        self._files = StoredFiles(world)
        self._seen: list[tuple[str, ...]] = []

    def read(self) -> dict[OutputKey, str] | None:
        """Return all outputs, or None if no output has changed.

        Raises InvariantBroken if a model call has two outputs, or if a line is not where its batch's rows say.
        """
        rows = self._connection.execute(_SEGMENTS).fetchall()
        if rows == self._seen:
            return None
        self._seen = rows
        files: dict[TaskKey, FileKey] = dict(self._connection.execute(_OUTPUT_FILES).fetchall())
        found: dict[OutputKey, str] = {}
        lines: dict[TaskKey, list[str]] = defaultdict(list)
        moved: dict[TaskKey, list[str]] = {}
        for task_id, level, places, body, part, sizes in rows:
            task_key = TaskKey(task_id)
            if part is None:
                outputs = _unpacked(body)
            else:
                if task_key not in moved:
                    moved[task_key] = self._moved(task_key, files[task_key])
                outputs = self._taken(task_key, places, sizes, moved[task_key])
            if ",".join(idx for idx, _ in outputs) != places:
                raise InvariantBroken(f"{task_key}: a segment holds other outputs than {places}")
            for idx, output in outputs:
                key = task_key, str(level), idx
                if key in found:
                    raise InvariantBroken(f"{key}: two outputs were accepted, {found[key]!r} and {output!r}")
                found[key] = output
                if task_key in files:
                    lines[task_key].append(output)
        self._grow(lines)
        if left := [task_key for task_key, rest in moved.items() if rest]:
            raise InvariantBroken(f"{left[0]}: its output file has lines that no segment names")
        return found

    def _moved(self, task_key: TaskKey, output_file: FileKey) -> list[str]:
        """Return the lines of a batch that have become objects."""
        row = self._files.row(output_file)
        if row is None or row.state not in NAMING:  # the file was deleted, and its lines do not change any more
            return list(self.lines[task_key])
        return self._files.content(row).decode("ascii").splitlines()

    def _taken(self, task_key: TaskKey, places: str, sizes: str, left: list[str]) -> list[tuple[str, str]]:
        """Take the lines of a segment from the lines that are left in the objects."""
        wanted = [int(size) for size in sizes.split(",")]
        taken, left[:] = left[: len(wanted)], left[len(wanted) :]
        if [len(line) for line in taken] != wanted:
            raise InvariantBroken(f"{task_key}: its objects have other lines than its segments say: {places}")
        return list(zip(places.split(","), taken, strict=True))

    def _grow(self, lines: dict[TaskKey, list[str]]) -> None:
        """Check that each file only grows, in one order."""
        for task_key, now in lines.items():
            before = self.lines.get(task_key, [])
            if now[: len(before)] != before:
                raise InvariantBroken(f"{task_key}: the lines of its output file have another order than before")
            self.lines[task_key] = now


@lru_cache(maxsize=1_000)
def _unpacked(body: str) -> list[tuple[str, str]]:
    return [(str(output.key.position), output.text) for output in segments.unpack(0, body)]
