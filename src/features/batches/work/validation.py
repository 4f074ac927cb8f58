"""Reads the input file of a batch in portions, and checks its lines, before the batch makes a call.

Each portion is recorded under the claim, so a run that has used its allowance, or that dies, is followed by one that
goes on behind the last portion.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from ....kernel.domain import limits
from ....kernel.domain.codes import TaskCode
from ....kernel.domain.ids import TaskKey
from ....kernel.domain.task import Failure
from ....kernel.run.kinds import Record
from ....kernel.run.memory import MemoryAllowance
from ....kernel.store.claims import Also
from ...files.file import File
from ...files.store import FileStore
from ..lines.file_check import CheckedPart, FileCheck
from ..lines.lines import LineCode, LineFault, LineRules
from ..store.batches import BatchWork, fault_row, file_name, found_valid, read_on


class Valid(NamedTuple):
    """Every line is valid, and this is recorded. The batch has `total` lines, and their calls go to `model`."""

    total: int
    model: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The run has used what it may spend, so the next run goes on."""


Outcome = Valid | Failure | Unfinished
MISSING = Failure(TaskCode.INVALID_BATCH, "the input file of the batch is gone", False)
LOST = Failure(
    TaskCode.INVALID_BATCH,
    f"a part of the batch's input file has not been in the bucket for {limits.LOST_PART_SECONDS // 60} minutes",
    False,
)
# Why a line failed that was found valid, and cannot be read any more.
UNREADABLE = Failure(TaskCode.INVALID_BATCH, "The line cannot be read: a part of the input file is gone.", False)


class Validation:
    """Checks the lines of one batch, from where an earlier run stopped.

    `digests` are those of the lines that are checked already, by portion. `may_go_on` says whether the run may read and
    record another portion. It is not asked before the first record of a run, because a run that records nothing would
    be followed by others like it.
    """

    def __init__(
        self,
        task_key: TaskKey,
        work: BatchWork,
        digests: Sequence[Sequence[int]],
        rules: LineRules,
        *,
        files: FileStore,
        record: Record,
        may_go_on: Callable[[], bool],
        portions_most: int,
        memory: MemoryAllowance,
    ) -> None:
        self._memory = memory
        self._task_key = task_key
        self._work = work
        self._files = files
        self._record = record
        self._may_go_on = may_go_on
        self._left = portions_most
        self._has_recorded = False
        self._faults = list(work.errors)
        self._recorded_bytes = work.read_bytes
        self._check = FileCheck(
            rules,
            read_bytes=work.read_bytes,
            read_lines=work.read_lines,
            total=sum(map(len, digests)),
            ids=chain.from_iterable(digests),
            faults=len(work.errors),
        )

    async def run(self) -> Outcome:
        """Read and check the file as far as the run may.

        Raises `BlobUnavailable`, MemoryShort, StoreError and ClaimLost, and `BlobMissing` if a part of the file is not
        there. A failure that is returned has its faults recorded, but has not ended the task.
        """
        file = await self._files.file(self._work.input_file)
        if file is None:
            return MISSING
        at = self._recorded_bytes
        while at < file.bytes and not self._check.is_over:
            if not self._left or (self._has_recorded and not self._may_go_on()):
                return Unfinished()
            self._left -= 1
            behind = min(at + limits.BATCH_PORTION_BYTES, file.bytes)
            size = limits.MEMORY_A_BYTE * (behind - at)
            share = await self._memory.share("run", size, limits.MEMORY_RUN_WAIT_SECONDS)
            try:
                self._check.feed(await self._files.read(file, at, behind))
            finally:
                share.close()
            at = behind
            if at < file.bytes:
                await self._recorded(self._check.take(), at)
        return await self._ended(file)

    def facts(self) -> dict[str, object]:
        """Return how far the file is read, for the log."""
        return {"bytes": self._recorded_bytes, "lines": self._check.total, "faults": len(self._faults)}

    async def _recorded(self, part: CheckedPart, at: int) -> None:
        """Record a portion unless it is within one line. After a line too large no more is read."""
        self._faults += map(fault_row, part.faults)
        if at - part.read_bytes > 2 * limits.BATCH_PORTION_BYTES:
            message = f"The line has more than {limits.BATCH_LINE_BYTES_MOST:,} bytes."
            self._faults.append(fault_row(LineFault(LineCode.LINE_TOO_LARGE, part.read_lines + 1, message)))
            self._check.faults_all = limits.BATCH_ERRORS_MOST
        if part.read_bytes > self._recorded_bytes:
            await self._write(part)

    async def _ended(self, file: File) -> Outcome:
        if not self._check.is_over:
            self._check.finish()
        part = self._check.take()
        self._faults += map(fault_row, part.faults)
        # The last portion is recorded even if it lies within one line, for its faults.
        behind = max(part.read_bytes, self._recorded_bytes)
        await self._write(part._replace(read_bytes=behind))
        if self._faults:
            count = len(self._faults)
            message = "a line of the input file is not valid" if count == 1 else f"{count} lines are not valid"
            return Failure(TaskCode.INVALID_BATCH, message, False)
        assert part.model is not None
        assert part.total
        total, model = part.total, part.model
        filename, shelf = file_name(self._task_key, "output"), self._files.bucket.shelf
        await self._record(Also(lambda under: found_valid(under, total, model, filename, shelf)), total)
        return Valid(total, model)

    async def _write(self, part: CheckedPart) -> None:
        from_bytes, faults = self._recorded_bytes, self._faults[: limits.BATCH_ERRORS_MOST]
        await self._record(
            Also(
                lambda under: read_on(
                    under,
                    from_bytes,
                    read_bytes=part.read_bytes,
                    read_lines=part.read_lines,
                    model=part.model,
                    faults=faults,
                    found=part.lines,
                )
            ),
            0,
        )
        self._recorded_bytes, self._has_recorded = part.read_bytes, True
