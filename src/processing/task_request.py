"""A checked request for a task: its text and options, where the text is cut, and errors for too large requests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from ..core import limits
from ..core.files import FileKey
from ..core.settings import Settings
from ..core.task import Kind, Source, TaskOptions
from ..core.text.chunks import Chunk, cuts, cuts_in_slices

type Repeated = Literal["overlaps", "instructions", "schema"]

DEFAULT_INSTRUCTIONS = (
    "Analyse the text: say what it is about, give its main points in their order, and name the people, places, "
    "dates and figures that matter. Answer in the language of the text."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A checked request. `output_schema` is JSON text, and `join_rules` say how outputs of the schema are joined."""

    text: str
    options: TaskOptions
    input_file: FileKey | None = None  # The file that has the text, in place of `text`, which is empty then.
    file_bytes: int = 0  # How many bytes the file has.
    instructions: str | None = None
    overlap_chars: int = 0
    output_schema: str | None = None
    join_rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind | None:
        """What the task's chunks are."""
        return None if self.input_file is None else Kind.FILE

    def system(self) -> str:
        """The instructions that are sent to the model with each chunk."""
        return self.instructions if self.instructions is not None else DEFAULT_INSTRUCTIONS

    def source(self) -> Source:
        """Return the part of the request that the API shows with a task."""
        schema = None if self.output_schema is None else json.loads(self.output_schema)
        # The characters of a file are not counted before its text is cut.
        return Source(self.system(), self.overlap_chars, len(self.text), schema, self.join_rules or None)

    def max_chars(self, settings: Settings) -> int:
        """The most code points of a chunk: the request's limit, or the deployment's limit if the request has none."""
        return self.options.chunk_chars if self.options.chunk_chars is not None else settings.chunk_chars

    async def cut(self, settings: Settings) -> tuple[int, ...]:
        """Return where the task's text is cut into chunks. Raises TooManyChunks, or TooMuchRepeated.

        A long text is cut in slices, between which other requests have a turn. The text of a file is cut by the task's
        worker.
        """
        if self.input_file is not None:
            return ()
        how, most = (self.text, self.max_chars(settings), self.overlap_chars), limits.CHUNKS_MOST
        if len(self.text) <= limits.WORK_CHARS_AT_ONCE:
            ends = cuts(*how, most=most)
        else:
            from ..store.long_work import LongWork  # noqa: PLC0415 - few texts are long

            work, found = LongWork(), list[int]()
            await work.did(len(self.text))  # it was parsed and checked
            for part in cuts_in_slices(*how, limits.WORK_CHARS_AT_ONCE, most=most):
                found += part
                await work.did(limits.WORK_CHARS_AT_ONCE)
            ends = tuple(found)
        repeated = repeated_chars(len(ends), self.overlap_chars, self.system(), self.output_schema)
        if len(self.text) + sum(repeated.values()) > limits.SENT_CHARS_MOST:
            raise TooMuchRepeated(max(repeated, key=repeated.__getitem__))
        return ends


def repeated_chars(chunks: int, overlap: int, instructions: str, schema: str | None) -> dict[Repeated, int]:
    """Return how many characters the calls for so many chunks repeat, by what they repeat."""
    return {
        "overlaps": (chunks - 1) * overlap,
        "instructions": chunks * len(instructions),
        "schema": chunks * len(schema or ""),
    }


class Planned(NamedTuple):
    """The chunks that a task would have, how many characters its text has, and the tokens of its calls, estimated."""

    chunks: Sequence[Chunk]
    characters: int
    tokens: int


class TooMuchRepeated(ValueError):
    """All chunks' calls would together send more than SENT_CHARS_MOST characters, and repeat mostly `mostly`."""

    def __init__(self, mostly: Repeated) -> None:
        super().__init__(f"the chunks repeat too much: {mostly}")
        self.mostly: Final = mostly


class BudgetTooSmall(ValueError):
    """A task's budget of calls is too small: the task needs `minimum` calls even without failures."""

    def __init__(self, minimum: int) -> None:
        super().__init__(f"fewer calls than the {minimum} that are needed")
        self.minimum: Final = minimum


def check_budget(options: TaskOptions, minimum: int) -> None:
    """Raise BudgetTooSmall if the task's budget is smaller than its number of calls without failures."""
    if options.max_calls is not None and options.max_calls < minimum:
        raise BudgetTooSmall(minimum)
