"""The part of a task's text that a run has at hand: neighbouring chunks, and what they overlap. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The text of the chunks that end at `ends`.

    The first of these chunks has the index `first`. There may be no chunk.

    `start` is where the first chunk begins without its overlap. Offsets are code points of the input.
    """

    first: int
    start: int
    ends: tuple[int, ...]
    overlap: int
    text: str

    def __post_init__(self) -> None:
        """Refuse a text whose length does not fit its chunks."""
        assert not self.ends or len(self.text) == self.ends[-1] - self._origin, "the text does not fit its cuts"

    @property
    def chunks(self) -> range:
        """The indices of the chunks."""
        return range(self.first, self.first + len(self.ends))

    def text_of(self, index: int) -> str:
        """Return the text of one of these chunks."""
        place = index - self.first
        before = self.ends[place - 1] if place else self.start
        begins = max(0, before - self.overlap)
        return self.text[begins - self._origin : self.ends[place] - self._origin]

    def chars_of(self, index: int) -> int:
        """Return how many characters one of these chunks has, without its overlap."""
        place = index - self.first
        return self.ends[place] - (self.ends[place - 1] if place else self.start)

    @property
    def _origin(self) -> int:
        """Where the text begins in the input."""
        return max(0, self.start - self.overlap)
