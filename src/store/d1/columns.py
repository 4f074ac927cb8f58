"""Functions that each read one column of a D1 row and check its type.

The rows come from our own SQL statements, so a wrong type in a column is a bug, and raises AssertionError.
"""

import json
from collections.abc import Mapping
from typing import cast

from ...core.codes import TaskCode
from ...core.ids import TaskKey
from .database import Row


def text(row: Row, name: str) -> str:
    """Read a TEXT NOT NULL column."""
    value = row[name]
    assert isinstance(value, str), name
    return value


def whole(row: Row, name: str) -> int:
    """Read an INTEGER NOT NULL column."""
    value = row[name]
    assert isinstance(value, int | float), name
    return int(value)


def task_code(row: Row, name: str) -> TaskCode:
    """Read an error code without checking it, because after a rollback only newer code may know the code."""
    return cast("TaskCode", text(row, name))


def maybe_text(row: Row, name: str) -> str | None:
    """Read a TEXT column."""
    return None if row[name] is None else text(row, name)


def maybe_whole(row: Row, name: str) -> int | None:
    """Read an INTEGER column."""
    return None if row[name] is None else whole(row, name)


def maybe_number(row: Row, name: str) -> float | None:
    """Read a REAL column."""
    value = row[name]
    assert value is None or isinstance(value, int | float), name
    return None if value is None else float(value)


def task_key(row: Row, name: str = "id") -> TaskKey:
    """Read a column that contains a task key, by default the column `id` of the table `tasks`."""
    return TaskKey(text(row, name))


def whole_list(row: Row, name: str) -> tuple[int, ...]:
    """Read a column that contains a JSON list of integers."""
    return tuple(json.loads(text(row, name)))


def json_object(row: Row, name: str) -> Mapping[str, object]:
    """Read a column that contains a JSON object."""
    value = json.loads(text(row, name))
    assert isinstance(value, dict), name
    return value


def maybe_json_object(row: Row, name: str) -> Mapping[str, object] | None:
    """Read a column that contains a JSON object, or NULL."""
    return None if row[name] is None else json_object(row, name)
