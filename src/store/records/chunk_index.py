"""An index of a task's finished chunks, with which a reader reads their outputs page by page. Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...core import limits
from ...core.ids import TaskKey
from ...core.structure import Rejection
from ...core.task import Failure, FinishedChunk
from .claims import Output


class ChunkIndex(NamedTuple):
    """A task's finished chunks: in `sizes` with the lengths of their outputs, or in `failed` with calls and failure.

    Lengths are code points. `cuts` and `overlap` say where the chunks are in the task's input.
    """

    task_key: TaskKey
    cuts: tuple[int, ...]
    overlap: int
    sizes: Mapping[int, int]
    failed: Mapping[int, tuple[int, Failure]]
    answered: frozenset[int] = frozenset()  # The failed chunks whose last answer was rejected, and is kept.
    gaps: frozenset[int] = frozenset()  # The failed chunks without which the task continues or has completed.

    def pages(self, first: int = 0, most: int = limits.CHUNKS_MOST) -> Iterator[range]:
        """Yield the finished chunks from `first` on as ranges of indices, each small enough to be read at once.

        A range has up to `most` finished chunks with at most ANSWER_CHARS_AT_ONCE characters of output and of rejected
        answers together, or one chunk of any size.
        """
        page: list[int] = []
        chars = 0
        for index in sorted(index for index in {*self.sizes, *self.failed} if index >= first):
            size = self.sizes.get(index, limits.REJECTED_CHARS_MOST if index in self.answered else 0)
            if page and (len(page) == most or chars + size > limits.ANSWER_CHARS_AT_ONCE):
                yield range(page[0], page[-1] + 1)
                page, chars = [], 0
            page.append(index)
            chars += size
        if page:
            yield range(page[0], page[-1] + 1)

    def completed(self, output: Output) -> FinishedChunk:
        """Return the finished chunk that has the given output, as the API shows it."""
        index = output.key.position
        start, end = self._span(index)
        return FinishedChunk(
            index=index,
            start=start,
            end=end,
            output=output.text,
            attempts=output.calls,
            failure=None,
            finish_reason=output.finish_reason,
            started_at=output.started_ms,
            finished_at=output.ended_ms,
            first_started_at=output.started_ms if output.calls == 1 else output.first_ms,
            lane=output.lane,
        )

    def failed_for_good(self, index: int, rejected: Rejection | None = None) -> FinishedChunk:
        """Return a chunk that has failed for good, as the API shows it, with its last rejected answer."""
        start, end = self._span(index)
        calls, failure = self.failed[index]
        return FinishedChunk(
            index=index,
            start=start,
            end=end,
            output=None,
            attempts=calls,
            failure=failure,
            rejected=rejected,
            is_gap=index in self.gaps,
        )

    def _span(self, index: int) -> tuple[int, int]:
        if not self.cuts:
            return 0, 0
        return max(0, self.cuts[index - 1] - self.overlap) if index else 0, self.cuts[index]
