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
    return [json.loads(line) for line in list(server.lines)[after:] if line.startswith(PREFIX)]


def seconds(task: Json) -> float:
    created, finished = (datetime.fromisoformat(task[name]) for name in ("createdAt", "finishedAt"))
    return (finished - created).total_seconds()


def object_files(state: Path) -> list[Path]:
    return [path for path in state.glob("v3/do/**/*.sqlite") if path.name != "metadata.sqlite"]


def object_rows(state: Path) -> dict[str, int]:
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
