"""The part of a task's text that a run has at hand: neighbouring chunks, and what they reach over. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The text of the chunks that end at `ends`, of which the first has the index `first`; maybe none.

    `start` is where the first begins but for its overlap with the one before. Offsets are code points of the input.
    """

    first: int
    start: int
    ends: tuple[int, ...]
    overlap: int
    text: str

    def __post_init__(self) -> None:
        """Refuse a text that is not as long as its chunks."""
        assert not self.ends or len(self.text) == self.ends[-1] - self._origin, "the text does not fit its cuts"

    @property
    def chunks(self) -> range:
        """The indices of the chunks."""
        return range(self.first, self.first + len(self.ends))

    def text_of(self, index: int) -> str:
        """Return the text of a chunk that is in here."""
        place = index - self.first
        before = self.ends[place - 1] if place else self.start
        begins = max(0, before - self.overlap)
        return self.text[begins - self._origin : self.ends[place] - self._origin]

    @property
    def _origin(self) -> int:
        """Where the text begins in the input."""
        return max(0, self.start - self.overlap)
