"""Checks texts in files at each write: the cuts so far are those of the whole text, and no call comes before the last.

A file is there as long as a task that reads it has not ended, and a task's cuts go with the task.
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from typing import NamedTuple

from simulator.campaign.checks.batches.stored import FileRow, StoredFiles
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.text import chunks

CUTS_JUDGED = "texts in files, cut as if they were whole"
SLICES_JUDGED = "slices of texts in files, cut in order"
TAKEN_OVER_JUDGED = "texts in files that more than one claim has cut"
_TEXTS = """SELECT id, text_file, total, fence, finished_at IS NOT NULL, calls_settled + calls_in_doubt, in_flight,
  texts.cuts, overlap, chunk_chars, cut_bytes, cut_chars, cut_chunks, char_ends, byte_ends
FROM tasks JOIN texts ON texts.task_id = id JOIN file_texts ON file_texts.task_id = id WHERE kind = 'file'"""
_ALL = "SELECT (SELECT count(*) FROM file_texts), (SELECT count(*) FROM tasks WHERE kind = 'file')"
_FILE = "SELECT text_file FROM tasks WHERE id = ?"


class _Text(NamedTuple):
    task_key: TaskKey
    file: FileKey
    total: int
    fence: int
    is_over: int
    calls: int
    in_flight: str
    cuts: str
    overlap: int
    chunk_chars: int
    cut_bytes: int
    cut_chars: int
    cut_chunks: int
    char_ends: str
    byte_ends: str

    @property
    def ends(self) -> list[int]:
        """The cuts so far, in code points."""
        return list(json.loads(self.cuts)) if self.total else _numbers(self.char_ends)


class FileTexts:
    """The texts in files of one world."""

    def __init__(self, world: World, judged: Counter[str]) -> None:
        self.broken: set[TaskKey] = set()  # Tasks whose files are no texts.
        self._connection = world.database.connection
        self._stored = StoredFiles(world)
        self._judged = judged
        self._rows: dict[TaskKey, _Text] = {}
        self._whole: dict[TaskKey, str] = {}
        self._starts: dict[TaskKey, int] = {}  # The byte at which each text begins in its file.
        self._claims: dict[TaskKey, set[int]] = {}  # By task: the fences of the claims that have cut its text.

    def watch(self, world: World) -> None:
        """Begin to look at writes."""
        world.database.observers.append(self._written)

    def born(self, task_key: TaskKey) -> str:
        """Return the text of a task that was just written. Raises InvariantBroken if its file is not ready."""
        (key,) = self._connection.execute(_FILE, (task_key,)).fetchone()
        row = self._ready(task_key, key)
        if row.purpose != "user_data" or row.tenant != task_key.partition(":")[0]:
            raise InvariantBroken(f"{task_key}: accepted, and its file is {row}")
        content = self._stored.content(row)
        self._starts[task_key] = len(BOM_UTF8) if content.startswith(BOM_UTF8) else 0
        content = content.removeprefix(BOM_UTF8)
        self._whole[task_key] = text = content.decode(errors="replace")
        if text.encode() != content:
            self.broken.add(task_key)
        return text

    def _ready(self, task_key: TaskKey, key: FileKey) -> FileRow:
        row = self._stored.row(key)
        if row is None or row.state != "ready":
            raise InvariantBroken(f"{task_key} goes on, and its text is in {row}")
        return row

    def _written(self) -> None:
        rows = {values[0]: _Text(*values) for values in self._connection.execute(_TEXTS)}
        cut, tasks = self._connection.execute(_ALL).fetchone()
        if cut != tasks or len(rows) != tasks:
            raise InvariantBroken(f"{tasks} tasks have texts in files, and there are the cuts of {cut}")
        before, self._rows = self._rows, rows
        for task_key, row in rows.items():
            if not row.is_over:
                self._ready(task_key, row.file)
            if (was := before.get(task_key)) != row:
                self._check(was, row)

    def _check(self, was: _Text | None, row: _Text) -> None:
        text, ends, starts = self._whole[row.task_key], row.ends, _numbers(row.byte_ends)

        def require(holds: bool, what: str) -> None:
            if not holds:
                raise InvariantBroken(f"{row.task_key}: {what}: {row}, before {was}")

        require(row.total > 0 or (not row.calls and row.in_flight == "[]"), "a call before the whole text is cut")
        if was is not None and (was.ends, was.byte_ends) == (ends, row.byte_ends) and was.total == row.total:
            return
        whole = list(chunks.cuts(text, row.chunk_chars, row.overlap))
        require(ends == whole[: len(ends)], f"cut elsewhere than the whole text, which is cut at {whole}")
        start = self._starts[row.task_key]
        wanted = [start + len(text[:end].encode()) for end in (0, *ends)] if ends else []
        require(starts == wanted, f"its chunks lie at {wanted} in the file")
        require(row.cut_chunks == len(ends) and row.cut_chars == (ends or [0])[-1], "miscounted")
        require(row.cut_bytes == (wanted or [0])[-1], "its cuts end at another byte")
        require(row.total in {0, len(whole)} and (row.total == 0 or ends == whole), "not all of it is cut")
        if was is not None:
            require(was.total in {0, row.total} and ends[: len(was.ends)] == was.ends, "cut backwards")
            claims = self._claims.setdefault(row.task_key, set())
            claims.add(row.fence)
            self._judged[SLICES_JUDGED] += 1
            if row.total and not was.total:
                self._judged[CUTS_JUDGED] += 1
                self._judged[TAKEN_OVER_JUDGED] += len(claims) > 1


def _numbers(listed: str) -> list[int]:
    return [int(number) for number in listed.rstrip(",").split(",")] if listed else []
