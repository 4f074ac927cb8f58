"""Finds what goes along with the chunks of a text: chooses the number of the marks, and finds the headings. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

from ...kernel.calls.clock import LongWork
from ...kernel.domain import limits
from ...kernel.domain.structure import LongText
from ...kernel.store.claims import Claim
from ...kernel.work.submission import HeadingsTooLong, TaskRequest
from .headings import Paths, StoredPaths
from .prompt import MARK_CHARS, ContextPrompt, free_number, numbers_in


async def prepare(request: TaskRequest, cuts: tuple[int, ...]) -> tuple[LongText, str | None]:
    """Return the options with the number of the marks, and the headings as they are stored. Raises HeadingsTooLong."""
    asked = request.options.long_text
    assert asked is not None
    found = asked._replace(mark=free_number(numbers_in(request.text, request.system())))
    if not asked.headings:
        return found, None
    paths, work, stored, size = Paths(), LongWork(), list[str](), len(request.text.encode())
    for index, (start, end) in enumerate(pairwise((0, *cuts))):
        stored.append(paths.add(index, request.text[start:end]))
        size += len(stored[-1].encode())
        if size > limits.INPUT_BYTES_MOST:
            raise HeadingsTooLong
        await work.did(end - start)
    return found, "".join(stored)


class Along(NamedTuple):
    """The numbers of marks in a text, with a comma behind each, and the headings above its chunks, as stored."""

    marks: str
    headings: str


NOTHING_ALONG: Final = Along("", "")


class FileHeadings:
    """The marks and headings of a text, as far as it is cut. `near` is the text before the next portion."""

    def __init__(self, claim: Claim, so_far: Along, near: str) -> None:
        self._claim = claim
        self._numbers = numbers_in(claim.instructions) | {int(number) for number in so_far.marks.split(",") if number}
        self._near = near
        self._headings = so_far.headings
        self._paths = Paths(StoredPaths(so_far.headings).last, near[-1:])

    def add(self, text: str, ends: Sequence[int], chunks: int) -> Along:
        """Take a portion behind so many chunks, and return what is to be stored for it. Raises HeadingsTooLong.

        `ends` is where each chunk of the portion ends in the whole text.
        """
        numbers = numbers_in(self._near + text) - self._numbers
        self._numbers |= numbers
        self._near = (self._near + text)[-MARK_CHARS:]
        stored, asked = "", self._claim.options.long_text
        if asked is not None and asked.headings:
            start = ends[-1] - len(text)
            positions = enumerate(pairwise((start, *ends)), start=chunks)
            stored = "".join(self._paths.add(at, text[first - start : end - start]) for at, (first, end) in positions)
            self._headings += stored
        if len(self._headings.encode()) > limits.INPUT_BYTES_MOST:
            raise HeadingsTooLong
        return Along("".join(f"{number}," for number in sorted(numbers)), stored)

    @property
    def mark(self) -> int:
        """The number of the marks, once the whole text was taken."""
        return free_number(self._numbers)

    def prompt(self) -> ContextPrompt:
        """Return the form of messages, once the whole text was taken."""
        assert self._claim.options.long_text is not None
        asked = self._claim.options.long_text._replace(mark=self.mark)
        return ContextPrompt(replace(self._claim, headings=self._headings), asked)
