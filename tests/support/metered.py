"""Reads the meter's lines in the output of a server with `--limits`, and the storage of its Durable Objects."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tests.support.client import Json
from tests.support.databases import opened, tables
from tests.support.dev_server import DevServer

PREFIX = '{"event":"metered"'


def lines(server: DevServer, after: int = 0) -> list[Json]:
    """Return the meter's lines after index `after` of the output: one line for each invocation that has ended."""
    return [json.loads(line) for line in list(server.lines)[after:] if line.startswith(PREFIX)]


def seconds(task: Json) -> float:
    """Return how many seconds a task took from its creation to its end, by the times that the API shows."""
    created, finished = (datetime.fromisoformat(task[name]) for name in ("createdAt", "finishedAt"))
    return (finished - created).total_seconds()


def object_files(state: Path) -> list[Path]:
    """Return the database files of all objects that have ever stored something."""
    return [path for path in state.glob("v3/do/**/*.sqlite") if path.name != "metadata.sqlite"]


def object_rows(state: Path) -> dict[str, int]:
    """Return how many rows objects store, by table, including alarms. Empty tables are left out."""
    found: dict[str, int] = {}
    for path in state.glob("v3/do/**/*.sqlite"):
        for table, rows in _counts(path):
            if rows:
                found[table] = found.get(table, 0) + rows
    return found


def _counts(path: Path) -> Iterator[tuple[str, int]]:
    with opened(path) as connection:
        for name in tables(connection):
            yield name, connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - its own
