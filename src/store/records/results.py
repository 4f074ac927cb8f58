"""Makes the result of a task from the task's outputs."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ...core.errors import NotJoinable
from ...core.structure import Structure
from ...core.task import CONCAT_SEPARATOR, Reduce, Source, TaskOptions
from ..long_work import LongWork
from .claims import Output

type Texts = str | tuple[str | None, ...]


class Unheld(Protocol):
    """An array of a joined value that is not held: the outputs are read anew whenever it is written."""

    def piece(self, number: int, output: dict[str, object]) -> bytes:
        """Write the array's items from the output with this number, without brackets; b"" if there are none."""
        ...


class OutputJoiner(Protocol):
    """Joins the outputs of one task with a schema, which are added in order, into one value."""

    def let_go(self, parts: int) -> int:
        """Hold no arrays, because the outputs can be read again. Return how often the outputs are to be added."""
        ...

    def again(self) -> None:
        """Begin anew with the first output."""
        ...

    def adding(self, value: dict[str, object]) -> Iterator[int]:
        """Add an output, in slices. Yields after each slice how much it has done, in characters."""
        ...

    def written(self) -> Sequence[bytes | Unheld]:
        """Write the joined value as compact JSON, in pieces of UTF-8. Raises NotJoinable if a sum is no double."""
        ...

    def held(self) -> Sequence[bytes]:
        """Write the joined value, whose arrays are held. Raises NotJoinable if a sum is no double."""
        ...


type JoinerOf = Callable[[Source], OutputJoiner]  # Makes a joiner by the schema and the rules of a task.


async def add(joiner: OutputJoiner, output: str, work: LongWork) -> None:
    """Add an output to a joined value, in slices."""
    for chars in joiner.adding(json.loads(output)):
        await work.did(chars)
    await work.did(len(output))


async def result_of(
    options: TaskOptions, total: int, outputs: Sequence[Output], source: Source, joiner_of: JoinerOf | None
) -> tuple[Texts | None, object]:
    """Make a task's result, as a text and as a JSON value, from outputs that were all read at once.

    With `reduce: none` the result is a list, with None in the place of a gap. With `concat` and a schema the result is
    the joined value as compact JSON. There is no value without a schema. The text and the value are both None if a sum
    in the result exceeds the largest double.
    """
    has_schema = (options.structure or Structure()).has_schema
    if options.reduce is Reduce.NONE:
        texts: list[str | None] = [None] * total
        for output in outputs:
            texts[output.key.position] = output.text
        values = [None if text is None else json.loads(text) for text in texts] if has_schema else None
        return tuple(texts), values
    if options.reduce is Reduce.CONCAT and has_schema:
        text = await _joined(outputs, source, joiner_of)
        return text, None if text is None else json.loads(text)
    text = CONCAT_SEPARATOR.join(output.text for output in outputs)
    return text, json.loads(text) if has_schema else None


async def _joined(outputs: Sequence[Output], source: Source, joiner_of: JoinerOf | None) -> str | None:
    assert joiner_of is not None, "a task with a schema in a deployment without structured tasks"
    joiner, work = joiner_of(source), LongWork()
    for output in outputs:
        await add(joiner, output.text, work)
    try:
        return b"".join(joiner.held()).decode()
    except NotJoinable:
        return None
