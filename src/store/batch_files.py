"""Writes the output file and the error file of a batch, and reads the lines that its output file has so far."""

from collections.abc import Mapping, Sequence
from itertools import chain

from ..core import limits
from ..core.files import FileKey, FilePart, Place
from ..core.ids import TaskKey
from .batches import error_filename, tenant_of
from .d1 import columns
from .d1.statement import BoundStatement, Statement, Value, as_json
from .hooks import HookedStore
from .records import batches as records
from .records import segments
from .records.batches import SegmentLines, SegmentSize, Writing
from .sql import batch_files as sql
from .sql.files import UNWRITTEN

_LEASE_MS = round(limits.WRITER_SECONDS * 1000)


class BatchFileStore(HookedStore):
    """Reads and writes the files of batches. Each method is one call to D1."""

    # --- Reads ------------------------------------------------------------------------------------------------

    async def lines(self, task_key: TaskKey) -> list[SegmentLines]:
        """Read the lengths of all lines of the output file, in its order."""
        (found,) = await self._database.run(sql.LINES.bind(task_key=task_key))
        return records.segment_lines(found)

    async def waiting(self, task_key: TaskKey) -> list[SegmentSize]:
        """Read which segments have not become objects."""
        (found,) = await self._database.run(sql.SEGMENTS.bind(task_key=task_key))
        return records.segment_sizes(found)

    async def bodies(self, task_key: TaskKey, parts: range) -> list[list[str]]:
        """Read the lines of those of the given segments that have not become objects, segment by segment, in order."""
        (found,) = await self._database.run(sql.BODIES.bind(task_key=task_key, first=parts.start, last=parts.stop - 1))
        return [[output.text for output in segments.unpack(0, columns.text(row, "body"))] for row in found]

    async def refusals(self, task_key: TaskKey, places: range) -> tuple[Mapping[int, tuple[str, str | None]], int]:
        """Read which of the given lines failed for good: by place the message, and the provider's refusal as JSON.

        Refusals may be long, so perhaps only those of the first lines are read. Returns the failures, and the place
        before which all are among them.
        """
        (found,) = await self._database.run(
            sql.REFUSALS.bind(
                task_key=task_key, first=places.start, last=places.stop - 1, most_chars=limits.BATCH_SLICE_BYTES
            )
        )
        behind = columns.maybe_whole(found[0], "behind") if found else None
        failures = {
            columns.whole(row, "idx"): (columns.text(row, "message"), columns.maybe_text(row, "refusal"))
            for row in found
        }
        return failures, places.stop if behind is None else behind

    async def unanswered(self, task_key: TaskKey) -> list[range]:
        """Read which lines of a batch have no answer, as ranges of places."""
        found, answered = await self._database.run(
            sql.ENDED_TASK.bind(task_key=task_key), sql.ANSWERED.bind(task_key=task_key)
        )
        have = records.answered_ranges(answered)
        return places_without(have, columns.whole(found[0], "total")) if found else []

    async def unwritten(self, most: int, claim_ms: int) -> list[TaskKey]:
        """Find up to `most` batches whose task has ended, and whose files a writer may complete: see `take`."""
        (found,) = await self._database.run(UNWRITTEN.bind(most=most, claim_ms=claim_ms))
        return [columns.task_key(row, "task_id") for row in found]

    # --- The end ----------------------------------------------------------------------------------------------

    async def take(self, task_key: TaskKey, writer: str, claim_ms: int) -> Writing | None:
        """Take a batch for the writer of this name to complete its files, for WRITER_SECONDS.

        From then on no worker adds an output.

        Returns None if the task has not ended, if its calls may still record an output, for up to `claim_ms` after
        their announcement, if the files are complete, or if another writer has the batch.
        """
        taken, _, task, answered = await self._database.run(
            sql.TAKE_BATCH.bind(task_key=task_key, writer=writer, claim_ms=claim_ms, lease_ms=_LEASE_MS),
            sql.SHUT_OUT.bind(task_key=task_key, claim_ms=claim_ms),
            sql.ENDED_TASK.bind(task_key=task_key),
            sql.ANSWERED.bind(task_key=task_key),
        )
        return records.writing(taken[0], task[0], answered) if taken else None

    async def move(self, of: Writing, parts: range, added: Sequence[FilePart]) -> bool:
        """Name stored parts with the lines of the given segments in the output file. False: the batch was lost."""
        *_, held = await self._database.run(
            *moving(sql.MOVE, of.task_key, of.output_file, parts, added, _ours(of)),
            sql.HOLD_BATCH.bind(**_ours(of), lease_ms=_LEASE_MS),
        )
        return bool(held)

    async def add_errors(
        self, of: Writing, places: range, added: Sequence[FilePart], *, lines: int, place: Place
    ) -> bool:
        """Name stored parts with the `lines` lines of the given places in the error file. False: the batch was lost.

        The database drops the refusals of these lines, which it needs no more. Without lines there is no part, and only
        the progress is recorded.
        """
        here: dict[str, Value] = {**_ours(of), "from_place": places.start}
        batch: list[BoundStatement] = []
        if lines:
            values: dict[str, Value] = {
                **here,
                **_added(added),
                "file_key": of.error_file,
                "tenant": tenant_of(of.error_file),
                "filename": error_filename(of.task_key),
                "place": place,
            }
            batch += [_bind(one, values) for one in sql.ADD_ERRORS]
            batch.append(sql.DROP_REFUSALS.bind(**here, to_place=places.stop))
        batch.append(sql.WRITTEN.bind(**here, to_place=places.stop, lines=lines, lease_ms=_LEASE_MS))
        *_, written = await self._database.run(*batch)
        return bool(written)

    async def complete(self, of: Writing) -> bool:
        """End a batch once each of its lines is in a file, and write the webhook deliveries about the end."""
        values: dict[str, Value] = {
            **_ours(of),
            "output_file": of.output_file,
            "error_file": of.error_file,
            "output_ms": of.output_ms,
        }
        files = (sql.DROP_EMPTY, sql.CLOSE_FILES) if of.is_valid else (sql.DROP_SLICES,)
        closing = (_bind(one, values) for one in (*files, sql.COMPLETE_BATCH))
        *_, ended = await self._end([of.task_key], *closing)
        return bool(ended)

    async def give_back(self, of: Writing) -> None:
        """Let another writer take the batch at once."""
        await self._database.run(sql.HOLD_BATCH.bind(**_ours(of), lease_ms=0))


def growing(
    under: Mapping[str, Value], task_key: TaskKey, output_file: FileKey, parts: range, added: Sequence[FilePart]
) -> list[BoundStatement]:
    """Name stored parts with the lines of the given segments, under the claim and the step in `under`."""
    return moving(sql.GROW, task_key, output_file, parts, added, under)


def look(task_key: TaskKey) -> BoundStatement:
    """Make the statement that reads which segments have not become objects."""
    return sql.SEGMENTS.bind(task_key=task_key)


def moving(
    statements: Sequence[Statement],
    task_key: TaskKey,
    output_file: FileKey,
    parts: range,
    added: Sequence[FilePart],
    by: Mapping[str, Value],
) -> list[BoundStatement]:
    """Bind the statements that move the lines of the given segments to the output file. `by` names the writer."""
    values: dict[str, Value] = {
        **by,
        **_added(added),
        "task_key": task_key,
        "file_key": output_file,
        "tenant": tenant_of(output_file),
        "first": parts.start,
        "last": parts.stop - 1,
    }
    return [_bind(one, values) for one in statements]


def places_without(answered: Sequence[range], total: int) -> list[range]:
    """Return the ranges of places that no line of the output file has, of `total` places."""
    bounds = [0, *chain.from_iterable((one.start, one.stop) for one in answered), total]
    return [range(first, behind) for first, behind in zip(bounds[::2], bounds[1::2], strict=True) if first < behind]


def _ours(of: Writing) -> dict[str, Value]:
    return {"task_key": of.task_key, "writer_fence": of.fence, "writer": of.writer}


def _added(added: Sequence[FilePart]) -> dict[str, Value]:
    return {"parts": as_json(added), "bytes": sum(part.bytes for part in added)}


def _bind(one: Statement, values: Mapping[str, Value]) -> BoundStatement:
    return one.bind(**{name: values[name] for name in one.parameters})
