"""The result of a structured task: joined, merged or listed, as value and as text, with gaps in their places."""

import asyncio
import json
from typing import Any

import pytest

from src.features.structured.feature import STRUCTURED
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Reduce, Source, TaskOptions
from src.kernel.store import rows
from src.kernel.store.claims import CallKey, Output

SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "array", "items": {"type": "string"}}, "count": {"type": "integer"}},
    "required": ["people", "count"],
    "additionalProperties": False,
}
FORMED = Structure(has_schema=True, gaps=True)
SOURCE = Source("do", 0, 4, SCHEMA, {"/count": "sum", "/people": "union"})


def result_of(options: TaskOptions, total: int, made: list[Output], source: Source) -> tuple[Any, Any]:
    return asyncio.run(rows.result_of(options, total, made, source, STRUCTURED.joiner_of))[:2]


def outputs(*found: tuple[int, Any]) -> list[Output]:
    return [Output(CallKey(0, at), one if isinstance(one, str) else json.dumps(one), 1) for at, one in found]


def asked(reduce: Reduce, structure: Structure = FORMED) -> TaskOptions:
    return TaskOptions(reduce=reduce, structure=structure)


FIRST, LAST = {"people": ["Anna", "Bo"], "count": 2}, {"people": ["Bo", "Åsa"], "count": 5}


def test_concat_joins_the_values_and_shows_them_as_compact_json() -> None:
    text, value = result_of(asked(Reduce.CONCAT), 3, outputs((0, FIRST), (2, LAST)), SOURCE)
    assert value == {"people": ["Anna", "Bo", "Åsa"], "count": 7}
    assert text == '{"people":["Anna","Bo","Åsa"],"count":7}'


def test_none_lists_values_and_nulls() -> None:
    text, value = result_of(asked(Reduce.NONE), 3, outputs((0, FIRST), (2, LAST)), SOURCE)
    assert value == [FIRST, None, LAST]
    assert text == (json.dumps(FIRST), None, json.dumps(LAST))


def test_a_merge_is_the_one_output() -> None:
    text, value = result_of(asked(Reduce.MERGE), 3, outputs((0, FIRST)), SOURCE)
    assert (text, value) == (json.dumps(FIRST), FIRST)


@pytest.mark.parametrize(
    ("reduce", "text"), [(Reduce.CONCAT, "a\n\nc"), (Reduce.NONE, ("a", None, "c", None)), (Reduce.MERGE, "a\n\nc")]
)
def test_without_a_schema_there_is_no_value(reduce: Reduce, text: object) -> None:
    plain = Source("do", 0, 4)
    assert result_of(asked(reduce, Structure(gaps=True)), 4, outputs((0, "a"), (2, "c")), plain) == (text, None)


def test_a_sum_that_is_no_double_has_no_result() -> None:
    schema = SCHEMA | {"properties": {"n": {"type": "number"}}, "required": ["n"]}
    source = Source("do", 0, 4, schema, {"/n": "sum"})
    assert result_of(asked(Reduce.CONCAT), 2, outputs((0, {"n": 1e308}), (1, {"n": 1e308})), source) == (None, None)
