"""Runs the commands of docs/data.md (export, rewrite, import) with the real wrangler on local databases."""

import re
import shutil
import sqlite3
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import pytest

from local.node import ROOT, wrangler
from ops import importable
from tests.support.client import Client
from tests.support.dev_server import DevServer
from tests.support.programs import output_of

PAGE = (ROOT / "docs" / "data.md").read_text("utf-8")
STATEMENT_BYTES_MOST = 100_000  # D1's limit
ROW_BYTES = 1_900_000  # D1 allows 2,000,000.

# The text columns that never have a long value: keys, and words of which the schema or the code has a list. In the test
# all others have as many characters as a row of D1 can hold.
SHORT = {
    "id": "acme:1",
    "task_id": "acme:1",
    "file_id": "acme:1",
    "tenant": "acme",
    "what": "queue",
    "name": "main",
    "tasks.status": "failed",
    "route": "queue",
    "reduce": "concat",
    "wait_reason": "paced",
    "kind": None,
    "state": "ready",
    "purpose": "batch",
    "place": "r2",
    "outcome": None,
    "endpoint": "/v1/responses",
    "tallies.status": "failed",
    "api_keys.id": "0" * 16,
    "digest": "0" * 64,
    "label": "a label",
}


def long_value(name: str, declared: str, schema: str, size: int) -> str | bytes:
    if declared == "BLOB":
        return bytes(islice(cycle(range(256)), size))
    numbers = ",".join(map(str, range(10**6, 10**6 + size // 8)))
    if f"json_type('[' || {name} || ']') = 'array'" in schema:
        return numbers
    if f"json_type({name}) = 'array'" in schema:
        return f"[{numbers}]"
    text = "it's 中𠀀 " * (size // 13)
    return f'{{"a":"{text}"}}' if f"json_type({name}) = 'object'" in schema else text


def tables(database: sqlite3.Connection) -> list[tuple[str, str]]:
    return database.execute("""SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_cf_*'
        AND name NOT GLOB 'd1_*' AND name NOT GLOB 'sqlite_*'""").fetchall()


def fill(database: sqlite3.Connection) -> int:
    """Write one row into each table of the schema, as long as D1 allows. Returns the number of long values."""
    database.execute("PRAGMA foreign_keys=ON")
    long_values = 0
    for table, sql in tables(database):
        row: dict[str, object] = {}
        long: dict[str, str] = {}
        for _, name, declared, required, default, _ in database.execute(f"PRAGMA table_info({table})"):
            if declared in {"TEXT", "BLOB"} and f"{table}.{name}" not in SHORT and name not in SHORT:
                long[name] = declared
            elif declared in {"TEXT", "BLOB"}:
                row[name] = SHORT.get(f"{table}.{name}", SHORT.get(name))
            elif (required and default is None) or name in {"finished_at", "structured_fence", "text_fence"}:
                row[name] = int(name not in {"structured_fence", "text_fence"})
        row |= {name: long_value(name, long[name], sql, ROW_BYTES // len(long)) for name in long}
        long_values += len(long)
        places = ",".join("?" * len(row))
        database.execute(f"INSERT INTO {table} ({','.join(row)}) VALUES ({places})", tuple(row.values()))  # noqa: S608
    database.commit()
    return long_values


def content(database: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    found = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table, _ in tables(database)}  # noqa: S608
    return {**found, "sqlite_schema": sorted(tables(database))}


def written(beginning: str) -> str:
    (command,) = re.findall(rf"^ *({re.escape(beginning)}.*)$", PAGE, re.MULTILINE)
    return command


def run(command: str, folder: Path) -> str:
    assert "--remote" in command or "wrangler" not in command
    words = command.replace("--remote", "--local").replace("npx wrangler ", "")
    return output_of(wrangler(*words.split()) if words != command else ["bash", "-euc", command], cwd=folder)


def copied(folder: Path) -> str:
    shutil.copytree(ROOT / "migrations", folder / "migrations")
    shutil.copytree(ROOT / "ops", folder / "ops")
    (folder / ".build").mkdir()
    config = (ROOT / "wrangler.toml").read_text("utf-8")
    (folder / "wrangler.toml").write_text(config)
    return config


def restore(folder: Path, config: str) -> None:
    """Restore the local database from its export into a new one, as docs/data.md says."""
    run(written("npx wrangler d1 export"), folder)
    run(written("python3 ops/importable.py"), folder)
    restored = re.search(r'`(database_name = "onceover-restored")` in all three places', PAGE)
    assert restored is not None
    assert config.count('database_name = "onceover"') == 3
    (folder / "wrangler.toml").write_text(config.replace('database_name = "onceover"', restored[1]))
    shutil.rmtree(folder / ".wrangler")
    run(written("npx wrangler d1 execute DB"), folder)


def stored(folder: Path) -> sqlite3.Connection:
    (place,) = [path for path in (folder / ".wrangler").glob("state/v3/d1/*/*.sqlite") if "metadata" not in path.name]
    return sqlite3.connect(place)


def cap(client: Client, most: str | None) -> None:
    """Set or remove the cap of the month, which makes triggers in the database."""
    client.http.put("/api/tenants/local/limits", json={"monthlyCostMost": most}).raise_for_status()


@pytest.mark.runtime
def test_an_export_comes_back_whole(tmp_path: Path) -> None:
    """Three texts are unchanged byte by byte, one of them longer than a statement may be."""
    english = (ROOT / "examples" / "english.txt").read_text("utf-8")
    texts = [english, (ROOT / "examples" / "chinese.txt").read_text("utf-8"), (english * 31)[:900_000]]
    config = copied(tmp_path)
    with (
        DevServer(tmp_path / ".wrangler" / "state", "--var", "KEEP_INPUT:true") as server,
        Client(server.url) as client,
    ):
        done = {text: client.finished(client.submit(text)["id"], 120) for text in texts}
        cap(client, "1")
        server.stop()
    restore(tmp_path, config)
    assert "completed" in run(written("python3 -c 'import sqlite3;"), tmp_path)
    with DevServer(tmp_path / ".wrangler" / "state") as server, Client(server.url) as client:
        for task in done.values():
            again = client.task(task["id"])
            assert again["result"] == task["result"]
            assert again["usage"] == task["usage"]
        # The cap holds still: this provider has no price.
        assert client.http.post("/api/tasks", json={"input": "A new text."}).json()["code"] == "no_price"
        cap(client, None)
        assert client.finished(client.submit("A new text.")["id"])["status"] == "completed"
        server.stop()
    with closing(stored(tmp_path)) as database:
        inputs = {row[0] for row in database.execute("SELECT input FROM texts")}
    assert set(texts) <= inputs


@pytest.mark.runtime
def test_each_column_comes_back_at_its_limit(tmp_path: Path) -> None:
    """Each table has a row as long as D1 allows; a CHECK refuses many values unless they are whole."""
    config = copied(tmp_path)
    run("npx wrangler d1 migrations apply DB --remote", tmp_path)
    with closing(stored(tmp_path)) as database:
        assert fill(database) >= 50
        before = content(database)
    restore(tmp_path, config)
    with closing(stored(tmp_path)) as database:
        assert content(database) == before


def test_a_database_with_long_values_everywhere() -> None:
    with closing(sqlite3.connect(":memory:")) as full, closing(sqlite3.connect(":memory:")) as again:
        for migration in sorted((ROOT / "migrations").glob("*.sql")):
            full.executescript(migration.read_text("utf-8"))
        fill(full)
        again.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MOST)
        again.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2_000_000)
        for statement in importable.importable("\n".join(full.iterdump())):
            again.execute(statement)
        assert content(again) == content(full)
