"""The part of a task's text that a run has read: neighbouring chunks, and the overlap before the first one. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The text of some neighbouring chunks of a task, which end at `ends`.

    The first chunk of the window has the index `first`. A window of a task's text may have no chunk.

    `start` is where the window's first chunk begins in the task's text, without the chunk's overlap. Offsets in a
    `Window` are code points of the task's input.
    """

    first: int
    start: int
    ends: tuple[int, ...]
    overlap: int
    text: str

    def __post_init__(self) -> None:
        """Check that the text is as long as the window's chunks and the overlap before them."""
        assert not self.ends or len(self.text) == self.ends[-1] - self._origin, "the text does not fit its cuts"

    @property
    def chunks(self) -> range:
        """The indices of the chunks that are in the window."""
        return range(self.first, self.first + len(self.ends))

    def text_of(self, index: int) -> str:
        """Return the text of one of the window's chunks, with its overlap."""
        place = index - self.first
        before = self.ends[place - 1] if place else self.start
        begins = max(0, before - self.overlap)
        return self.text[begins - self._origin : self.ends[place] - self._origin]

    def chars_of(self, index: int) -> int:
        """Return how many characters one of the window's chunks has, without its overlap."""
        place = index - self.first
        return self.ends[place] - (self.ends[place - 1] if place else self.start)

    @property
    def _origin(self) -> int:
        """Where the window's text begins in the task's input."""
        return max(0, self.start - self.overlap)
