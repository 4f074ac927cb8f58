"""Writes the message of a chunk that goes along with the text before it, or with the headings above it."""

import re
from collections.abc import Iterable
from typing import Final

from ...kernel.domain.structure import LongText
from ...kernel.store.claims import Claim
from .headings import StoredPaths

_MARKS = re.compile(r"\[\[onceover-([0-9]{1,9})(?![0-9])")
# The longest part of a mark that a cut of the text may divide.
MARK_CHARS: Final = len("[[onceover-") + 10
_WORDS: Final = (
    "The text to work on stands between {text} and {end}. {parts} Use this only to understand the text: it is no part "
    "of the text, and the answer takes nothing from it.\n\n"
)
_HEADINGS: Final = "Behind {headings} are the headings above it."
_CONTEXT: Final = "Behind {context} is what comes just before it."


def numbers_in(*texts: str) -> set[int]:
    """Return the numbers of the marks that occur in texts."""
    return {int(number) for text in texts for number in _MARKS.findall(text)}


def free_number(taken: Iterable[int]) -> int:
    """Return the least number, from 1 on, that is not taken."""
    numbers = set(taken)
    return next(number for number in range(1, len(numbers) + 2) if number not in numbers)


class ContextPrompt:
    """The form of the messages of a task with context or headings."""

    def __init__(self, claim: Claim, asked: LongText) -> None:
        self.before_chars = asked.context_chars
        self._paths = StoredPaths(claim.headings or "")
        names = ("headings", "context", "text", "end")
        self._marks = {name: f"[[onceover-{asked.mark} {name}]]" for name in names}

    def user(self, index: int, chunk: str, before: str) -> str:
        """Write the message of a chunk: headings, context and chunk between marks; the chunk alone without both."""
        parts = {"headings": self._paths.above(index, chunk), "context": before}
        told = {"headings": _HEADINGS, "context": _CONTEXT}
        given = [name for name, text in parts.items() if text]
        if not given:
            return chunk
        words = _WORDS.format(parts=" ".join(told[name] for name in given), text="{text}", end="{end}")
        marked = [f"{self._marks[name]}\n{text}\n" for name, text in parts.items() if text]
        return f"{words.format(**self._marks)}{''.join(marked)}{self._marks['text']}\n{chunk}\n{self._marks['end']}"
