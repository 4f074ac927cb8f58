"""A migration that has landed is never edited, and a new migration only adds to the schema."""

import hashlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from local.node import ROOT
from tests.support.sqlite_d1 import SqliteD1

FOLDER = ROOT / "migrations"
MIGRATIONS = sorted(FOLDER.glob("*.sql"))
# The migration that makes the whole schema, before which no code existed.
FIRST = "0001_initial.sql"
# Patterns of SQL that removes something which code of the previous release may use.
_TAKES_AWAY = re.compile(
    r"\b(?:DROP\s+(?:TABLE|COLUMN|VIEW)|RENAME|DELETE\s+FROM|ADD\s+COLUMN\s+\w+[^;,]*\bNOT\s+NULL\b(?![^;,]*\bDEFAULT\b))",
    re.IGNORECASE,
)


def landed() -> dict[str, str]:
    lines = [line.split("  ") for line in (FOLDER / "LANDED").read_text().splitlines() if not line.startswith("#")]
    return {name: digest for digest, name in lines}


def test_no_landed_migration_was_edited() -> None:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in MIGRATIONS}
    assert {name: digests.get(name) for name in landed()} == landed()


def test_each_migration_has_landed() -> None:
    names = [path.name for path in MIGRATIONS]
    assert set(names) <= set(landed())
    assert [name for name in names if name in landed()] == list(landed())
    numbers = [int(name[:4]) for name in names]
    assert numbers == sorted(set(numbers))


def statements(path: Path) -> str:
    return re.sub(r"--[^\n]*", "", path.read_text("utf-8"))


def test_a_new_migration_only_adds() -> None:
    assert [path.name for path in MIGRATIONS if path.name > FIRST and _TAKES_AWAY.search(statements(path))] == []


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE tasks",
        "ALTER TABLE tasks DROP COLUMN input",
        "ALTER TABLE tasks RENAME COLUMN a TO b",
        "DELETE FROM tasks",
        "ALTER TABLE tasks ADD COLUMN x TEXT NOT NULL",
    ],
)
def test_what_takes_away_is_found(text: str) -> None:
    assert _TAKES_AWAY.search(text)
    assert not _TAKES_AWAY.search(
        "ALTER TABLE tasks ADD COLUMN x TEXT; ALTER TABLE tasks ADD COLUMN y INT NOT NULL DEFAULT 0"
    )


def test_later_migrations_leave_older_code_able_to_write() -> None:
    database = SqliteD1(migrated=False)
    database.migrate(1)
    before = _columns(database)
    database.migrate(applied=1)
    after = _columns(database)
    for table, columns in before.items():
        assert columns.items() <= after[table].items(), table
        added = [column for name, column in after[table].items() if name not in columns]
        assert all(not column["notnull"] or column["dflt_value"] is not None for column in added), table
        indexes = database.rows("SELECT * FROM pragma_index_list(?)", table)
        assert [index["origin"] for index in indexes if index["unique"]] in ([], ["pk"]), table
    assert database.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'") == []
    database.close()


def _columns(database: SqliteD1) -> dict[str, dict[str, dict[str, Any]]]:
    tables = database.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        table["name"]: {
            column["name"]: column | {"cid": 0}
            for column in database.rows("SELECT * FROM pragma_table_xinfo(?)", table["name"])
        }
        for table in tables
    }


def test_a_migration_is_applied_once() -> None:
    database = sqlite3.connect(":memory:")
    for path in MIGRATIONS:
        database.executescript(path.read_text("utf-8"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        database.executescript(MIGRATIONS[0].read_text("utf-8"))
    database.close()
