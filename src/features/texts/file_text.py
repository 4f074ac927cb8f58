"""Holds the inputs of a task with its text in a file: it cuts the text in portions, and reads parts of it.

No call is made before the whole text is cut. Each portion is recorded under the claim, so a run that has used its
allowance, or that dies, is followed by one that goes on behind the last cut.
"""

import asyncio
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from ...kernel.calls import clock
from ...kernel.calls.pace import idle_seconds
from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.errors import BlobMissing, BlobUnavailable, MemoryShort
from ...kernel.domain.task import Failure, NewTask, Route, minimum_calls
from ...kernel.run.call_plan import CallPlan
from ...kernel.run.context import ClaimLost, RunContext
from ...kernel.run.kinds import Record, TaskKind
from ...kernel.run.ledger import Ledger
from ...kernel.run.text_inputs import CallInputs
from ...kernel.run.write_pacer import WritePacer
from ...kernel.store.admission import Conditions, Outcome
from ...kernel.store.claims import Also, Ending, Fail, Release
from ...kernel.store.d1 import BoundStatement, Value
from ...kernel.store.tasks import TaskStore
from ...kernel.text.chunks import TooManyChunks, Window, is_blank
from ...kernel.work.submission import HeadingsTooLong, repeated_chars
from ..context.preparing import NOTHING_ALONG, FileHeadings
from ..context.prompt import MARK_CHARS
from ..files.file import File
from ..files.store import file_store
from .file_cuts import CODE_POINT_BYTES, CutAt, CutPortion, FileCuts, TextFault, text_of
from .store import Cuts, FileTextStore, all_cut, cut_on

MISSING = Failure(TaskCode.INPUT_MISSING, "the file of the task's text is gone", False)
# A retry may find the right bucket bound again.
LOST = Failure(
    TaskCode.INPUT_MISSING,
    f"a part of the task's file has not been in the bucket for {limits.LOST_PART_SECONDS // 60} minutes",
    True,
)
UNREACHED = Failure(
    TaskCode.INPUT_MISSING, "the bucket with the file of the task's text did not answer for a day", True
)
_PORTION_CALLS = 3  # What a portion takes of the allowance, in calls to the model: it may lie in two parts of the file.


def invalid(message: str) -> Failure:
    """Return the failure of a task whose file cannot be cut."""
    return Failure(TaskCode.INVALID_INPUT, message, False)


NO_TEXT = invalid("the file has no text")


class FileText(CallInputs):
    """The inputs of a task whose text is in a file."""

    def __init__(self, context: RunContext, plan: CallPlan, pacer: WritePacer, ledger: Ledger) -> None:
        super().__init__(context, plan, pacer, ledger)
        self._rows = context.store.beside(FileTextStore)
        self._files = file_store(context.invocation)
        self._opened: tuple[File, Cuts] | None = None
        self._along: FileHeadings | None = None  # What goes along with chunks, as far as the text is cut.
        self._more = NOTHING_ALONG  # What the last portion adds to it.
        self._failures = 0  # How often in a row the text could not be read.

    # --- the cuts --------------------------------------------------------------------------------------------

    async def prepare(self, record: Record) -> Ending | RunContext | None:
        """Cut the text as far as the run may; if it is cut, check the budget. Raises StoreError and ClaimLost."""
        if self._claim.total:
            return self._over_budget()
        context = self._context
        try:
            outcome = await self._cut(record)
        except (BlobUnavailable, MemoryShort) as error:
            seconds = self._looked_in_vain()
            context.log("text_unread", error=error.code, delay_seconds=seconds)
            return self._back(seconds) if seconds else Fail(context.settings.retention_ms, UNREACHED)
        if isinstance(outcome, Failure):
            return Fail(context.settings.retention_ms, outcome)
        # Before the chunks are counted, a run has no lanes. Except on the direct route, the next run comes at once.
        if outcome is None or (outcome.chunks >= limits.LANES_FROM_CHUNKS and context.route is not Route.DIRECT):
            return self._back(0)
        step = self._ledger.last_step
        claim = replace(self._claim, total=outcome.chunks, characters=outcome.chars, step=step, stalls=0, idle_runs=0)
        if self._along is None:
            return replace(context, claim=claim)
        return replace(context, claim=claim, prompt=self._along.prompt())

    def _over_budget(self) -> Fail | None:
        """Return how the task ends if its budget does not suffice. Other tasks are refused at their submission."""
        most, minimum = self._claim.options.max_calls, minimum_calls(self._claim.total, self._claim.options.reduce)
        if most is None or most >= minimum or self._claim.outputs:
            return None
        message = f"the task needs at least {minimum} model calls, and its maxModelCalls allows {most}"
        return Fail(self._context.settings.retention_ms, Failure(TaskCode.BUDGET_EXHAUSTED, message, False))

    async def _cut(self, record: Record) -> CutAt | Failure | None:
        """Return how the text is cut, why it cannot be cut, or None if the next run must go on."""
        so_far = await self._pacer.with_retries(partial(self._rows.cut_at, self._claim.task_key), writes=False)
        if so_far is None:
            raise ClaimLost
        at, along = so_far
        file = await self._file()
        if file is None:
            return MISSING
        asked = self._claim.options.long_text
        if asked is not None and asked.goes_along:
            near = await self._files.read(file, max(0, at.bytes - CODE_POINT_BYTES * MARK_CHARS), at.bytes)
            self._along = FileHeadings(self._claim, along, near.decode(errors="ignore"))
        chunk_chars = self._claim.options.chunk_chars
        assert chunk_chars is not None
        cuts = FileCuts(file.bytes, chunk_chars, self._claim.window.overlap, at)
        portions_left, has_recorded = limits.TEXT_PORTIONS_A_RUN[self._context.settings.plan], False
        has_text = False
        while not cuts.is_over:
            if not portions_left or (has_recorded and not self._affords_portion()):
                self._context.log("text_cut", bytes=cuts.at.bytes, of=file.bytes, chunks=cuts.at.chunks)
                return None
            before = cuts.at.bytes
            found = await self._portion(file, cuts)
            if isinstance(found, Failure):
                return found
            has_text |= not is_blank(found.text)
            if cuts.at.bytes >= file.bytes and not has_text and await self._is_blank(file, at.bytes):
                return NO_TEXT
            await self._recorded(record, before, found, is_over=cuts.is_over)
            portions_left, has_recorded = portions_left - 1, True
        if not has_recorded:  # the last portion is always recorded with the end, so only an empty file comes here
            return NO_TEXT
        self._context.log("text_cut", bytes=cuts.at.bytes, of=file.bytes, chunks=cuts.at.chunks)
        return cuts.at

    async def _portion(self, file: File, cuts: FileCuts) -> CutPortion | Failure:
        """Read and cut the next portion, or return why it cannot be cut. Raises `BlobUnavailable` and MemoryShort."""
        size = limits.MEMORY_A_BYTE * (cuts.wanted[1] - cuts.wanted[0])
        share = await self._context.invocation.isolate.memory.share("run", size, limits.MEMORY_RUN_WAIT_SECONDS)
        try:
            found = cuts.feed(await self._files.read(file, *cuts.wanted))
            self._check_repeats(cuts.at.chunks)
            if self._along is not None:
                self._more = self._along.add(found.text, found.ends, cuts.at.chunks - len(found.ends))
        except HeadingsTooLong:
            message = "the headings above the chunks are too long: set headings to false"
        except TooManyChunks as error:
            message = f"chunk.maxChars is too small: the file would need more than {error.most} chunks"
        except TextFault as fault:
            message = str(fault)
        except BlobMissing:
            return LOST
        else:
            return found
        finally:
            share.close()
        return invalid(message)

    async def _is_blank(self, file: File, behind: int) -> bool:
        """Whether a text is blank before the byte `behind` of its file, which earlier runs have cut."""
        decoder = getincrementaldecoder("utf-8")()
        for first in range(0, behind, limits.TEXT_PORTION_BYTES):
            content = await self._files.read(file, first, min(first + limits.TEXT_PORTION_BYTES, behind))
            if not is_blank(decoder.decode(content)):
                return False
        return True

    async def _recorded(self, record: Record, from_bytes: int, found: CutPortion, *, is_over: bool) -> None:
        """Record the cuts of a portion, and with the last portion that the whole text is cut."""

        def writes(under: Mapping[str, Value]) -> Sequence[BoundStatement]:
            mark = None if self._along is None else self._along.mark
            return [*cut_on(under, from_bytes, found, self._more), *(all_cut(under, mark) if is_over else ())]

        least = minimum_calls(found.at.chunks, self._claim.options.reduce) if is_over else 0
        await record(Also(writes), least)
        self._pacer.refund()

    def _check_repeats(self, chunks: int) -> None:
        """Raise TextFault if the calls for so many chunks would repeat too much besides the text."""
        claim = self._claim
        what = claim.window.overlap, claim.instructions, claim.output_schema, claim.options.long_text
        repeated = repeated_chars(chunks, *what)
        if sum(repeated.values()) > limits.SENT_CHARS_MOST:
            mostly = max(repeated, key=repeated.__getitem__)
            raise TextFault(
                f"the calls for this many chunks would repeat more than {limits.SENT_CHARS_MOST} characters, "
                f"mostly {mostly}"
            )

    def _looked_in_vain(self) -> float:
        """Count a look without progress, and return for how many seconds to pause. 0: it has waited too long."""
        if sum(map(idle_seconds, range(self._ledger.idle_runs))) >= limits.BUCKET_PATIENCE_SECONDS:
            return 0.0
        seconds = idle_seconds(self._ledger.idle_runs)
        self._ledger.idled()
        return seconds

    def _affords_portion(self) -> bool:
        group_size = self._context.caller.group_size
        calls = _PORTION_CALLS * group_size
        affordable = self._context.allowance.affordable_calls(clock.now(), calls, 0, group_size)
        return affordable >= _PORTION_CALLS

    def _back(self, seconds: float) -> Release:
        """Give the task back. On the direct route no host continues it, so the sweep does."""
        delay_ms = round(seconds * 1000)
        lease_ms = 0 if self._context.route is Route.DIRECT else self._context.settings.lease_ms
        return Release(delay_ms, delay_ms + lease_ms)

    # --- parts of the text -----------------------------------------------------------------------------------

    async def _window(self, first: int, chunks: int) -> Window | None:
        seconds = max(limits.BATCH_READ_PAUSE_SECONDS, self._pacer.renews_by - clock.now())
        try:
            async with asyncio.timeout(seconds):
                window = await self._read_file(first, chunks)
        except (BlobMissing, TextFault):
            self._context.log("text_missing")
            self._ledger.fail(MISSING if self._opened is None else LOST)
            return None
        except (BlobUnavailable, TimeoutError) as error:
            self._unread(error)
            return None
        self._failures = 0
        return window

    def _unread(self, error: BlobUnavailable | TimeoutError) -> None:
        """Let no call start for a while. Calls in flight continue, and the run tries again after a short pause."""
        ledger, code = self._ledger, getattr(error, "code", BlobUnavailable.code)
        self._failures += 1
        if ledger.in_flight or ledger.ended:
            pause = limits.BATCH_READ_PAUSE_SECONDS * 2.0 ** (self._failures - 1)
            pause = min(pause, 2 * limits.INLINE_WAIT_SECONDS_MOST)
        else:
            pause = self._looked_in_vain()
            if not pause:
                ledger.fail(UNREACHED)
        self._context.log("text_unread", error=code, retry_seconds=pause)
        ledger.pause(clock.now() + pause)

    async def _read_file(self, first: int, chunks: int) -> Window:
        file, (ends, byte_ends, overlap) = self._opened or await self._open()
        start = ends[first - 1] if first else 0
        last = first
        while last + 1 < min(first + chunks, len(ends)) and ends[last + 1] - start <= limits.WINDOW_CHARS_MOST:
            last += 1
        lead = self._claim.window.lead
        origin = max(0, start - max(overlap, lead))
        begins = max(byte_ends[0], byte_ends[first] - CODE_POINT_BYTES * max(overlap, lead))
        content = await self._files.read(file, begins, byte_ends[last + 1])
        text = text_of(content, ends[last] - origin)
        return Window(first=first, start=start, ends=ends[first : last + 1], overlap=overlap, text=text, lead=lead)

    async def _open(self) -> tuple[File, Cuts]:
        cuts = await self._pacer.with_retries(partial(self._rows.cuts, self._claim.task_key), writes=False)
        if cuts is None:
            raise ClaimLost
        file = await self._file()
        if file is None:
            raise BlobMissing
        self._opened = file, cuts
        return self._opened

    async def _file(self) -> File | None:
        key = self._claim.text_file
        assert key is not None
        return await self._pacer.with_retries(partial(self._files.file, key), writes=False)


def _insert(store: TaskStore, new: NewTask, unclaimed_ms: int, on: Conditions) -> Awaitable[Outcome]:
    return store.beside(FileTextStore).submit(new, unclaimed_ms, on)


# A text in a file.
FILE: Final = TaskKind(FileText, _insert, reads_files=True)
