"""The inputs of a batch's calls: lines of its file, read for the present calls, and the index of all."""

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from ....kernel.calls import clock
from ....kernel.calls.pace import idle_seconds
from ....kernel.calls.protocol import ModelCall, ModelReply
from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing, BlobUnavailable, MemoryShort
from ....kernel.domain.settings import Settings
from ....kernel.run.context import ClaimLost, RunContext
from ....kernel.run.kinds import CallSource
from ....kernel.run.ledger import Ledger
from ....kernel.run.memory import MemoryAllowance, MemoryShare
from ....kernel.run.write_pacer import WritePacer
from ....kernel.store.claims import CallKey, Claim
from ...files.blobs import PartAway
from ...files.file import File, touches
from ...files.store import FileStore
from ..lines.answers import output_line
from ..lines.line_index import StoredPortion
from ..lines.lines import Line, LineRules, call_body, line_again, memory_bytes, rules_of
from ..store.batches import BatchStore, BatchWork, OutputFile
from .validation import UNREADABLE


class LineIndex:
    """Knows where each line of a batch lies in its file. Only the portions that are asked for are spread out."""

    def __init__(self, portions: Sequence[StoredPortion]) -> None:
        self._portions = portions
        self._firsts = [one.first for one in portions]
        # By portion: for each line where it begins, and then the byte behind it. An array takes a tenth of a list.
        self._bounds: dict[int, array[int]] = {}

    def range_of(self, position: int) -> tuple[int, int]:
        """Return where a line begins in the file, and the byte behind it."""
        number = bisect_right(self._firsts, position) - 1
        if number not in self._bounds:
            self._bounds[number] = array("q", chain.from_iterable(self._portions[number].ranges()))
        at = 2 * (position - self._firsts[number])
        first, behind = self._bounds[number][at : at + 2]
        return first, behind


class _Opened(NamedTuple):
    """What a run reads once: the batch, its file, and the index of its lines."""

    work: BatchWork
    file: File
    lines: LineIndex
    rules: LineRules


class LineReading:
    """Reads the rows of a batch for its run, and says for how long and when the run may read lines."""

    def __init__(self, context: RunContext, pacer: WritePacer, ledger: Ledger) -> None:
        self._claim = context.claim
        self._rows = context.store.beside(BatchStore)
        self._log = context.log
        self._pacer = pacer
        self._ledger = ledger
        self._failures = 0  # How many times in a row the lines could not be read.

    async def work(self) -> tuple[BatchWork, list[StoredPortion]] | None:
        """Read the batch, and where its lines lie. None: it is gone."""
        return await self._pacer.with_retries(partial(self._rows.work, self._claim.task_key), writes=False)

    async def checked(self) -> tuple[BatchWork, list[tuple[int, ...]]] | None:
        """Read the batch, and the digests of the lines that are checked. None: it is gone."""
        return await self._pacer.with_retries(partial(self._rows.checked, self._claim.task_key), writes=False)

    def seconds(self) -> float:
        """Return for how long the run may read lines before it must write again to keep its claim."""
        return max(limits.BATCH_READ_PAUSE_SECONDS, self._pacer.renews_by - clock.now())

    def lose(self, keys: Iterable[CallKey]) -> None:
        """Give up lines that cannot be read any more: each goes to the error file without a call."""
        lost = self._ledger.lose(keys, UNREADABLE, limits.LOST_LINES_A_WRITE)
        self._log("lines_lost", lines=lost)

    def unread(self, error: BlobUnavailable | MemoryShort) -> None:
        """Let no call start for a while, longer each time in a row, because a line could not be read.

        A run that has made no call counts the look in its task's row, so that the pauses also grow from run to run.
        """
        self._failures += 1
        if self._ledger.in_flight or self._ledger.ended:
            pause = limits.BATCH_READ_PAUSE_SECONDS * 2.0 ** (self._failures - 1)
            pause = min(pause, 2 * limits.INLINE_WAIT_SECONDS_MOST)
        else:
            pause = idle_seconds(self._ledger.idle_runs)
            self._ledger.idled()
        self._log("lines_unread", error=error.code, retry_seconds=pause)
        self._ledger.pause(clock.now() + pause)

    def recorded(self) -> None:
        """Note that a step was written, so that the next pause is a short one."""
        self._failures = 0


class LineInputs:
    """What of `Inputs` needs no run: the lines for the calls of a claim, as one share of the isolate's memory."""

    def __init__(
        self,
        claim: Claim,
        settings: Settings,
        model: str,
        files: FileStore,
        reading: LineReading,
        memory: MemoryAllowance,
    ) -> None:
        self._share = MemoryShare(memory, "run", 0, lambda: None)
        self._unsaved_bytes = 0  # of the lines of answers that are not recorded
        self._claim = claim
        self._settings = settings
        self._model = model
        self._files = files
        self._reading = reading
        self._opened: _Opened | None = None
        self._lines: dict[CallKey, Line] = {}
        self._sizes: dict[CallKey, int] = {}  # How much memory each line takes that has been read.
        self._out: set[CallKey] = set()  # The lines whose calls are in flight.
        self._asked: frozenset[CallKey] = frozenset()
        self._lost: list[range] = []  # The bytes of the file that cannot be read any more.

    def within(self, starting: list[CallKey]) -> list[CallKey]:
        """Return the first of the calls that may start: as many as the memory for lines allows, but at least one."""
        if self._opened is None:
            return starting
        held = sum(self._sizes[key] for key in self._out)
        for number, key in enumerate(starting):
            first, behind = self._opened.lines.range_of(key.position)
            held += self._sizes.get(key, behind - first)
            if held > limits.BATCH_LINES_KEPT_BYTES and (number or self._out):
                return starting[:number]
        return starting

    def ended(self, key: CallKey) -> None:
        """Drop the line of a call that has ended."""
        self._out.discard(key)
        self._drop(key)
        self._count()

    def message(self, key: CallKey) -> ModelCall:
        """Return the content of a call. The line must be in memory, and stays until the call has ended."""
        line, opened = self._lines[key], self._opened
        assert opened is not None
        self._out.add(key)
        body = call_body(opened.work.endpoint, line.body)
        tokens = self._settings.max_output_tokens
        return ModelCall("", "", line.model, tokens, body=body, task_key=self._claim.task_key)

    def chars_of(self, key: CallKey) -> int | None:
        """Return None: lines that fail for good are counted, and not measured."""
        return None

    def source(self, key: CallKey) -> CallSource:
        """Return nothing: no rule judges the answer to a line."""
        return CallSource()

    def recorded_form(self, key: CallKey, reply: ModelReply, now_ms: int) -> ModelReply:
        """Make the line of the output file of an answer, which is the output of the call."""
        line, opened = self._lines[key], self._opened
        assert opened is not None
        assert reply.answer is not None, "a provider gave no whole answer for a line"
        text = output_line(self._claim.task_key, key.position, opened.work.endpoint, line, reply.answer, now_ms)
        self._unsaved_bytes += len(text)
        self._count()
        return reply._replace(output=text, answer=None)

    def lacks(self, keys: Sequence[CallKey]) -> CallKey | None:
        """Return the first call whose line must be read, None if the lines of all are in memory."""
        self._asked = frozenset(keys)
        return next((key for key in keys if key not in self._lines), None)

    async def read(self, key: CallKey, calls: int, wanted: Callable[[CallKey], bool]) -> None:
        """Read the line of a call, and of further calls after it, up to `calls` in all.

        If the bucket does not answer in time, or does not have a part of the file now, no call starts for a while. If a
        part is gone, the lines that touch it are given up. Raises StoreError and ClaimLost.
        """
        try:
            async with asyncio.timeout(self._reading.seconds()):
                await self._read_or_lose(key, calls, wanted)
        except TimeoutError:
            self._reading.unread(BlobUnavailable("the lines could not be read in time"))
        except (BlobUnavailable, MemoryShort) as error:
            self._reading.unread(error)

    async def _read_or_lose(self, key: CallKey, calls: int, wanted: Callable[[CallKey], bool]) -> None:
        opened = self._opened or await self._open()
        try:
            if not self._is_lost(opened, key.position):
                await self._read(opened, key, calls, wanted)
                return
        except BlobMissing:
            known, self._lost = self._lost, await self._files.lost(opened.file)
            if not self._is_lost(opened, key.position):
                if self._lost == known:
                    raise PartAway("the lines are there again") from None
                return  # lines after this one are lost; the run reads again at once, without them
        positions = range(key.position, self._claim.total)
        self._reading.lose(CallKey(0, position) for position in positions if self._is_lost(opened, position))

    def _is_lost(self, opened: _Opened, position: int) -> bool:
        return bool(self._lost) and touches(self._lost, *opened.lines.range_of(position))

    async def _read(self, opened: _Opened, key: CallKey, calls: int, wanted: Callable[[CallKey], bool]) -> None:
        self._make_room()
        positions = self._positions(opened, key.position, calls)
        start, end = opened.lines.range_of(positions.start)[0], opened.lines.range_of(positions.stop - 1)[1]
        if not self._share.resize(limits.MEMORY_A_BYTE * (self._held_bytes + end - start)):
            raise MemoryShort("other runs hold their lines")
        found = await self._files.read(opened.file, start, end)
        for position in positions:
            first, behind = opened.lines.range_of(position)
            one = CallKey(0, position)
            if one not in self._lines and wanted(one):
                line = self._lines[one] = line_again(found[first - start : behind - start], opened.rules)
                self._sizes[one] = memory_bytes(line, behind - first)
        self._count()

    def output_file(self) -> OutputFile:
        """Return the batch's output file, which has begun. The run must have read a line. Raises ClaimLost."""
        assert self._opened is not None
        work = self._opened.work
        if work.output_place is None:
            raise ClaimLost  # the file was erased with its batch
        return OutputFile(work.output_file, work.output_place)

    async def sizes(self, save: object) -> Sequence[int]:
        """Fail, because the outputs of a batch are not merged."""
        raise AssertionError("a batch has no merge")

    async def _open(self) -> _Opened:
        found = await self._reading.work()
        if found is None:
            raise ClaimLost
        work, portions = found
        file = await self._files.file(work.input_file)
        if file is None:
            raise ClaimLost  # a file is in use until its batch has ended
        rules = rules_of(self._settings, work.endpoint, self._model, work.model)
        self._opened = _Opened(work, file, LineIndex(portions), rules)
        return self._opened

    def _positions(self, opened: _Opened, first: int, calls: int) -> range:
        """Return the positions of lines that are read together: as many as a read may have, but at least one."""
        index = opened.lines
        start = index.range_of(first)[0]
        behind = first + 1
        while behind < min(first + calls, self._claim.total):
            if index.range_of(behind)[1] - start > limits.BATCH_PORTION_BYTES or self._is_lost(opened, behind):
                break
            behind += 1
        return range(first, behind)

    def _make_room(self) -> None:
        """Drop lines that were read ahead if they take too much memory."""
        if sum(self._sizes.values()) <= limits.BATCH_LINES_KEPT_BYTES:
            return
        for key in [key for key in self._lines if key not in self._out and key not in self._asked]:
            self._drop(key)

    def _drop(self, key: CallKey) -> None:
        self._lines.pop(key, None)
        self._sizes.pop(key, None)

    def saved(self) -> None:
        """Note that all answers are recorded."""
        self._unsaved_bytes = 0
        self._count()

    def close(self) -> None:
        """Give back the memory of the lines, when the run has ended."""
        self._share.close()

    def _count(self) -> None:
        """Count what is held, even if it is more than was lent: it is there."""
        self._share.count(limits.MEMORY_A_BYTE * self._held_bytes)

    @property
    def _held_bytes(self) -> int:
        return sum(self._sizes.values()) + self._unsaved_bytes
