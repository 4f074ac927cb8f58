"""Makes the result of a structured task from the task's outputs, which are added one after the other.

The outputs are held in memory only once, as text.
"""

import json
from collections.abc import Sequence
from typing import Any

from ...core.structure import Structure
from ...core.task import CONCAT_SEPARATOR, Reduce, Source, TaskOptions
from .claims import Output

type Texts = str | tuple[str | None, ...]


class ResultFold:
    """Takes the outputs that form a result, in order, and writes the result.

    With `reduce: none` the result is a list, with None in the place of a gap. With `concat` and a schema the result is
    the joined value as compact JSON. `source` has the output schema, and the rules by which outputs are joined.
    """

    def __init__(self, options: TaskOptions, total: int, source: Source) -> None:
        structure = options.structure or Structure()
        self._reduce = options.reduce
        self._has_schema = structure.has_schema
        self._texts: list[str | None] = [None] * total if options.reduce is Reduce.NONE else []
        self._joiner: Any = None
        if options.reduce is Reduce.CONCAT and structure.has_schema:
            from ...core.structured.joining import join_plan  # noqa: PLC0415 - only structured tasks need it
            from ...core.structured.schema import accepted_schema  # noqa: PLC0415

            schema = accepted_schema(dict(source.output_schema or {}))
            self._joiner = join_plan(schema, source.join_rules or {}).joiner()

    def add(self, index: int, output: str) -> None:
        """Take the next output: that of the next chunk, or the single output of the last merge."""
        if self._joiner is not None:
            self._joiner.add(json.loads(output))
        elif self._reduce is Reduce.NONE:
            self._texts[index] = output
        else:
            self._texts.append(output)

    def joined(self) -> list[bytes]:
        """Write the joined value of outputs with a schema as compact JSON, in pieces of UTF-8.

        Raises NotJoinable if a sum in the result is infinite.
        """
        written: list[bytes] = self._joiner.written()
        return written

    def texts(self) -> Texts:
        """Return the whole result as a text. Raises NotJoinable if a sum in the result is infinite."""
        if self._joiner is not None:
            return b"".join(self.joined()).decode()
        if self._reduce is Reduce.NONE:
            return tuple(self._texts)
        return CONCAT_SEPARATOR.join(text for text in self._texts if text is not None)

    def value_of(self, texts: Texts) -> object:
        """Return the JSON value of a result that consists of this text, or of these texts; None without a schema."""
        if not self._has_schema:
            return None
        if isinstance(texts, str):
            return json.loads(texts)
        return [None if text is None else json.loads(text) for text in texts]


def result_of(
    options: TaskOptions, total: int, outputs: Sequence[Output], source: Source
) -> tuple[Texts | None, object]:
    """Make a task's result, as a text and as a JSON value, from outputs that were all read at once.

    The text and the value are both None if a sum in the result exceeds the largest double.
    """
    from ...core.structured.refusals import NotJoinable  # noqa: PLC0415 - only structured tasks need it

    fold = ResultFold(options, total, source)
    for output in outputs:
        fold.add(output.key.position, output.text)
    try:
        texts = fold.texts()
    except NotJoinable:
        return None, None
    return texts, fold.value_of(texts)
