"""Checks batches at each write: each takes allowed steps, and at its end each line is in one of its files, once.

Counts are those of the files, and a batch that has ended never changes.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from simulator.campaign.checks.batches.file_texts import FileTexts
from simulator.campaign.checks.batches.lines import InputLines, code_of, custom_id_of, input_lines, said, text_of
from simulator.campaign.checks.batches.stored import StoredFiles
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.campaign.subject.small_limits import TIMEOUT_SECONDS
from simulator.platform.model import output_of
from simulator.platform.world import World
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain.ids import FileKey, TaskKey

BATCHES_JUDGED = "batches whose files were complete"
MOVES_JUDGED = "writes that moved lines of a batch to an object"
# The longest time, in seconds, from the end of all tasks until every batch has ended: a writer that died keeps the
# batch for a lease, and calls that were announced may record an output for as long as a claim lasts.
ENDED_SECONDS_MOST = 900
_COLUMNS = (
    "task_id, input_file, output_file, error_file, model, read_bytes, errors, valid_at, writer_fence, written_places, "
    "output_lines, error_lines, ended_at"
)
BATCHES = f"SELECT {_COLUMNS} FROM batches"  # noqa: S608 - constants
_NEW = (
    "SELECT input_file, metadata, submission FROM batches JOIN tasks ON id = batches.task_id "
    "JOIN texts USING (task_id) WHERE batches.task_id = ?"
)
_TASK = "SELECT status, error_code, total FROM tasks WHERE id = ?"
_REFUSALS = "SELECT count(refusal) FROM failures WHERE task_id = ?"
_ANNOUNCED = "SELECT coalesce(announced_at, 0) FROM tasks WHERE id = ?"
_MOVED = "SELECT count(*) FROM segments WHERE object IS NOT NULL"


class BatchRow(NamedTuple):
    """The columns of `batches` that describe a batch's state."""

    task_key: TaskKey
    input_file: FileKey
    output_file: FileKey
    error_file: FileKey
    model: str | None
    read_bytes: int
    errors: str
    valid_at: int | None
    writer_fence: int
    written_places: int
    output_lines: int
    error_lines: int
    ended_at: int | None


class WantedBatch(NamedTuple):
    """A batch that was just written: the lines of its file, and by which name its request goes.

    `is_retry`: it was made of another batch's lines without an answer.
    """

    lines: InputLines
    wish: str
    is_retry: bool
    size: int


class Endings:
    """The batches of one world. `lines` are the lines of their output files so far, as the database has them.

    `texts` are the texts in files, whose tasks end as others do.
    """

    def __init__(self, world: World, lines: dict[TaskKey, list[str]], judged: Counter[str]) -> None:
        self.inputs: dict[TaskKey, InputLines] = {}
        self.errors: dict[TaskKey, list[str]] = {}  # The lines of the error files of batches that have ended.
        self.rows: dict[TaskKey, BatchRow] = {}
        # How often a batch's task was taken from its last worker, and the tasks whose worker had calls out then.
        self.shut: Counter[TaskKey] = Counter()
        self.given_up: set[TaskKey] = set()
        self.texts = FileTexts(world, judged)
        self._world = world
        self._connection = world.database.connection
        self._stored = StoredFiles(world)
        self._lines = lines
        self._judged = judged
        self._moved = 0
        world.database.observers.append(self.written)

    def born(self, task_key: TaskKey) -> WantedBatch:
        """Read the input file of a batch that was just written. Raises InvariantBroken if it is not ready."""
        input_file, metadata, submission = self._connection.execute(_NEW, (task_key,)).fetchone()
        row = self._stored.row(input_file)
        if row is None or row.state != "ready" or row.tenant != task_key.partition(":")[0]:
            raise InvariantBroken(f"{task_key}: accepted, and its input file is {row}")
        lines = self.inputs[task_key] = input_lines(self._stored.content(row))
        is_retry = submission is not None and " lines of " in submission
        return WantedBatch(lines, json.loads(metadata).get("wish", ""), is_retry, row.bytes)

    def is_faulty(self, task_key: TaskKey) -> bool:
        """Whether a task's file cannot be worked on: a line of it is not valid, or it is no text."""
        return task_key in self.texts.broken or (task_key in self.inputs and self.inputs[task_key].is_faulty)

    def shut_out(self, was: Row) -> None:
        """Record that an ended task was taken from its last worker, which must have had time to settle its calls."""
        self.shut[was.task_key] += 1
        if not was.announced:
            return
        self.given_up.add(was.task_key)
        (announced_at,) = self._connection.execute(_ANNOUNCED, (was.task_key,)).fetchone()
        if (waited_ms := self._world.database.now_ms() - announced_at) < 1000 * TIMEOUT_SECONDS:
            raise InvariantBroken(f"{was.task_key}: its worker is shut out {waited_ms} ms after calls were announced")

    # --- each write -------------------------------------------------------------------------------------

    def written(self) -> None:
        """Check all batches after a write. Raises InvariantBroken."""
        found = (BatchRow(*values) for values in self._connection.execute(BATCHES))
        rows = {row.task_key: row for row in found}
        if not rows and not self.rows:
            return
        (moved,) = self._connection.execute(_MOVED).fetchone()
        self._judged[MOVES_JUDGED] += max(0, moved - self._moved)
        self._moved = moved
        before, self.rows = self.rows, rows
        for task_key, row in rows.items():
            was = before.get(task_key)
            if row.ended_at is not None and len(self._lines.get(task_key, [])) != row.output_lines:
                raise InvariantBroken(f"{task_key}: an output was recorded after its files were complete")
            if was is None or was == row:
                continue
            self._check_step(was, row)
            if row.ended_at is not None:
                self._check_end(row)

    def _check_step(self, was: BatchRow, row: BatchRow) -> None:
        def require(holds: bool, what: str) -> None:
            if not holds:
                raise InvariantBroken(f"{row.task_key}: {what}, from {was} to {row}")

        require(was.ended_at is None, "a batch that had ended has changed")
        require(was.valid_at is None or was.valid_at == row.valid_at, "validated twice")
        require(was.valid_at is None or was.read_bytes == row.read_bytes, "its file is read again")
        require(was.read_bytes <= row.read_bytes, "its file is read backwards")
        require(was.written_places <= row.written_places, "its error file is written backwards")
        require(0 <= row.writer_fence - was.writer_fence <= 1, "the writers' fence fell or jumped")
        require(row.valid_at is None or not self.inputs[row.task_key].is_faulty, "found valid, and it is not")

    def _check_end(self, row: BatchRow) -> None:
        """Check the files of a batch that has just ended."""
        status, code, total = self._connection.execute(_TASK, (row.task_key,)).fetchone()

        def require(holds: bool, what: str) -> None:
            if not holds:
                raise InvariantBroken(f"{row.task_key} ({status} {code or ''}): {what}")

        files = self._stored.row(row.output_file), self._stored.row(row.error_file)
        if row.valid_at is None:
            require(files == (None, None) and status != "completed", "not validated, and it has files")
            return
        output, errors = (
            [] if one is None else self._stored.content(one).decode("ascii").splitlines() for one in files
        )
        require(output == self._lines.get(row.task_key, []), "its output file has other lines than its outputs")
        self.errors[row.task_key] = errors
        ids = Counter(map(custom_id_of, (*output, *errors)))
        wanted = Counter(self.inputs[row.task_key].custom_ids)
        require(ids == wanted, f"lines are missing or doubled: {wanted - ids} and {ids - wanted}")
        counts = row.output_lines, row.error_lines, total
        require(counts == (len(output), len(errors), len(output) + len(errors)), f"its counts are {counts}")
        for one, lines in zip(files, (output, errors), strict=True):
            require((one is not None) == bool(lines), "a file without a line, or a line without a file")
            require(one is None or one.state == "ready", "its files are not complete")
        (refusals,) = self._connection.execute(_REFUSALS, (row.task_key,)).fetchone()
        require(not refusals, f"{refusals} refusals are in the database, besides its error file")
        self._check_codes(row, status, code, errors)
        self._judged[BATCHES_JUDGED] += 1

    def _check_codes(self, row: BatchRow, status: str, code: str | None, errors: list[str]) -> None:
        """Check that each line of the error file says how its batch has ended, or how its own calls have failed."""
        own = {"refused", "batch_failed"}
        named = "batch_expired" if code == "deadline_exceeded" else f"batch_{status}"
        found = Counter(map(code_of, errors))
        if not found.keys() <= own | {named}:
            raise InvariantBroken(f"{row.task_key}: {status} {code or ''}, and lines of its error file say {found}")

    # --- at the end -------------------------------------------------------------------------------------

    async def all_ended(self) -> None:
        """Once all tasks have ended, wait until all batches have. Raises InvariantBroken if one takes too long."""
        deadline = self._world.loop.now() + ENDED_SECONDS_MOST
        while left := [row.task_key for row in self.rows.values() if row.ended_at is None]:
            if self._world.loop.now() > deadline:
                raise InvariantBroken(f"{left[0]}: its files are not complete, {ENDED_SECONDS_MOST} s after its end")
            await asyncio.sleep(5)

    def check(self, answers: Mapping[str, Counter[tuple[str, str]]]) -> None:
        """Check each line of each file: the model has answered it so, by its records of calls in `answers`, by tag."""
        for task_key, lines in self.errors.items():
            inputs = self.inputs[task_key]
            for line in lines:
                text = text_of(custom_id_of(line))
                if code_of(line) == "refused" and not answers[inputs.tag][text, "refused"]:
                    raise InvariantBroken(f"{task_key}: a refusal by a model that did not refuse it: {line}")
        for row in self.rows.values():
            inputs = self.inputs[row.task_key]
            for line in self._lines.get(row.task_key, []):
                call = ModelCall(inputs.tag, text_of(custom_id_of(line)), row.model or "")
                if said(line).partition(" #")[0] != output_of(call):
                    raise InvariantBroken(f"{row.task_key}: an answer to another line: {line}")
