"""The columns of `tasks` for the client's options, in one list, from which the SQL takes their names.

The columns for options are written when a task is created. A claim, like a view, reads the columns for options.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ...core.task import Reduce, TaskOptions
from ..d1.columns import json_object, maybe_json_object, maybe_number, maybe_text, maybe_whole, text
from ..d1.database import Row
from ..d1.statement import Value, as_json
from . import structures


class _Column(NamedTuple):
    """A column of `tasks` that stores an option of the task.

    An option has the same name as its column of `tasks`, unless `option` gives another name.
    """

    name: str
    written: Callable[[TaskOptions], Value]
    read: Callable[[Row, str], object]
    option: str = ""


_COLUMNS = (
    _Column("reduce", lambda options: options.reduce, lambda row, name: Reduce(text(row, name))),
    _Column("model", lambda options: options.model, maybe_text),
    _Column("metadata", lambda options: as_json(dict(options.metadata)), json_object),
    _Column("deadline_ms", lambda options: options.deadline_ms, maybe_whole),
    _Column("max_calls", lambda options: options.max_calls, maybe_whole),
    _Column("chunk_chars", lambda options: options.chunk_chars, maybe_whole),
    _Column("max_output_tokens", lambda options: options.max_output_tokens, maybe_whole),
    _Column("temperature", lambda options: options.temperature, maybe_number),
    _Column("model_options", lambda options: as_json(dict(options.model_options)), json_object),
    _Column(
        "response",
        lambda options: None if options.response is None else as_json(dict(options.response)),
        maybe_json_object,
    ),
    _Column("retention_ms", lambda options: options.retention_ms, maybe_whole),
    _Column("structured", structures.written, structures.read, "structure"),
)
NAMES = tuple(column.name for column in _COLUMNS)


def written(options: TaskOptions) -> dict[str, Value]:
    """Return the values of the columns for a task's options, by the columns' names."""
    return {column.name: column.written(options) for column in _COLUMNS}


def read(row: Row) -> TaskOptions:
    """Read a task's options from a row that has all the columns for options."""
    found: dict[str, Any] = {column.option or column.name: column.read(row, column.name) for column in _COLUMNS}
    return TaskOptions(**found)
