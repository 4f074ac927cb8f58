"""Reads the outputs of tasks from a database."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from src.kernel.store import rows
from tests.support.sqlite_d1 import SqliteD1


def stored_outputs(database: SqliteD1) -> Mapping[tuple[str, int, int], tuple[str, int]]:
    levels: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in database.rows("SELECT task_id, level, part, hex(body) AS body FROM segments"):
        levels[row["task_id"], row["level"]].append(row)
    return {
        (task_key, *output.key): (output.text, output.calls)
        for (task_key, level), found in levels.items()
        for output in rows.outputs(level, found)
    }
