"""Makes the result of a structured task from its outputs, one after the other, without a second copy of all."""

import json
from collections.abc import Sequence
from typing import Any

from ...core.structure import Structure
from ...core.task import CONCAT_SEPARATOR, Reduce, Source, TaskOptions
from .claims import Output

type Texts = str | tuple[str | None, ...]


class ResultFold:
    """Takes the outputs that a task's result consists of, in order, and gives the result as text and as a value.

    With `reduce: none` the result is a list, with None in the place of a gap. With `concat` and a schema the result is
    the joined value as compact JSON. `source` has the schema, and the rules by which outputs are joined.
    """

    def __init__(self, options: TaskOptions, total: int, source: Source) -> None:
        structure = options.structure or Structure()
        self._reduce = options.reduce
        self._has_schema = structure.has_schema
        self._texts: list[str | None] = [None] * total if options.reduce is Reduce.NONE else []
        self._joiner: Any = None
        if options.reduce is Reduce.CONCAT and structure.has_schema:
            from ...core.structured.joining import join_plan  # noqa: PLC0415 - only structured tasks need it
            from ...core.structured.schema import parse_schema  # noqa: PLC0415

            schema = parse_schema(source.output_schema, strict=False)
            self._joiner = join_plan(schema, source.join_rules or {}).joiner()

    def add(self, index: int, output: str) -> None:
        """Take the next output: one of a chunk, or the single one of a merge."""
        if self._joiner is not None:
            self._joiner.add(json.loads(output))
        elif self._reduce is Reduce.NONE:
            self._texts[index] = output
        else:
            self._texts.append(output)

    def value(self) -> object:
        """Return the result as a JSON value; None without a schema.

        Raises NotJoinable for a sum beyond the largest double.
        """
        if not self._has_schema:
            return None
        if self._joiner is not None:
            return self._joiner.result()
        values = [None if text is None else json.loads(text) for text in self._texts]
        return values if self._reduce is Reduce.NONE else values[0]

    def texts(self, value: object) -> Texts:
        """Return the result as text. `value` is what the method `value` returned."""
        if self._joiner is not None:
            from ...core.structured.reading import compact  # noqa: PLC0415 - only structured tasks need it

            return compact(value)
        if self._reduce is Reduce.NONE:
            return tuple(self._texts)
        return CONCAT_SEPARATOR.join(text for text in self._texts if text is not None)


def result_of(
    options: TaskOptions, total: int, outputs: Sequence[Output], source: Source
) -> tuple[Texts | None, object]:
    """Make a task's result, as text and as a value, from outputs that were all read at once.

    The text and the value are None if a sum is beyond the largest double.
    """
    from ...core.structured.refusals import NotJoinable  # noqa: PLC0415 - only structured tasks need it

    fold = ResultFold(options, total, source)
    for output in outputs:
        fold.add(output.key.position, output.text)
    try:
        value = fold.value()
    except NotJoinable:
        return None, None
    return fold.texts(value), value
