"""Makes the result of a structured task from the task's outputs, which are added one after the other.

The outputs are held in memory only once, as text.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.structure import Structure
from ...core.task import CONCAT_SEPARATOR, Reduce, Source, TaskOptions
from .claims import Output

if TYPE_CHECKING:
    from ...core.structured.joining import Joiner
    from ..long_work import LongWork

type Texts = str | tuple[str | None, ...]


def joiner_of(source: Source) -> "Joiner":
    """Return a joiner for the outputs of a task with a schema and `concat`, by the rules in its `source`."""
    from ...core.structured.joining import join_plan  # noqa: PLC0415 - only structured tasks need it
    from ...core.structured.schema import accepted_schema  # noqa: PLC0415

    schema = accepted_schema(dict(source.output_schema or {}))
    return join_plan(schema, source.join_rules or {}).joiner()


async def add(joiner: "Joiner", output: str, work: "LongWork") -> None:
    """Add an output to a joined value, in slices."""
    for chars in joiner.adding(json.loads(output)):
        await work.did(chars)
    await work.did(len(output))


async def result_of(
    options: TaskOptions, total: int, outputs: Sequence[Output], source: Source
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
        text = await _joined(outputs, source)
        return text, None if text is None else json.loads(text)
    text = CONCAT_SEPARATOR.join(output.text for output in outputs)
    return text, json.loads(text) if has_schema else None


async def _joined(outputs: Sequence[Output], source: Source) -> str | None:
    from ...core.structured.refusals import NotJoinable  # noqa: PLC0415
    from ..long_work import LongWork  # noqa: PLC0415 - only structured tasks need it

    joiner, work = joiner_of(source), LongWork()
    for output in outputs:
        await add(joiner, output.text, work)
    try:
        return b"".join(joiner.held()).decode()
    except NotJoinable:
        return None
