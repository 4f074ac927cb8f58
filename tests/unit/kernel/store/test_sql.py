"""SQL statements with their named parameters, and migrations, which are never edited and only add."""

import hashlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.node import ROOT
from src.kernel.store.d1 import BoundStatement, as_json, statement
from src.kernel.store.fragments import delete_parts
from tests.support.sqlite_d1 import SqliteD1


def test_names_become_numbers_in_the_order_of_their_first_use():
    made = statement("UPDATE t SET a = :worth, b = :other WHERE c = :worth AND d = :key_2")
    assert made.sql == "UPDATE t SET a = ?1, b = ?2 WHERE c = ?1 AND d = ?3"
    assert made.parameters == ("worth", "other", "key_2")
    assert made.bind(key_2=None, other="x", worth=1) == BoundStatement(made.sql, (1, "x", None))


def test_a_longer_name_is_not_taken_for_a_shorter_one():
    assert statement("SELECT :fence_most, :fence, :fence_most").sql == "SELECT ?1, ?2, ?1"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'at :noon'",
        "SELECT 'it''s :noon'",
        "SELECT a ->> '$.b:c', '?', '::'",
        "SELECT ':a' || ':b'",
        'SELECT ":a" FROM t',
        'SELECT "a "" :b"',
        "SELECT 1 -- not :this, isn't it?",
        "SELECT 1 /* nor :that\n'nor this' :one */",
        "SELECT 1 /* unfinished :one",
        "SELECT 1 -- it's\n, 'x' -- :a",
        "SELECT a::text",
    ],
)
def test_what_only_looks_like_a_parameter_stays(text: str):
    made = statement(text)
    assert (made.sql, made.parameters, made.bind().values) == (text, (), ())


def test_parameters_are_found_around_what_looks_like_one():
    made = statement("SELECT ':a', :a /* :b */, ':b', :b, a::c, -- :c\n:c, 'it''s', :d")
    assert made.sql == "SELECT ':a', ?1 /* :b */, ':b', ?2, a::c, -- :c\n?3, 'it''s', ?4"
    assert made.parameters == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    "text", ["SELECT ?", "SELECT ?1", "SELECT @a", "SELECT $a", "SELECT :A", "SELECT :1", "SELECT :"]
)
def test_other_forms_of_parameters_are_refused(text: str):
    with pytest.raises(AssertionError, match="a parameter without a name"):
        statement(text)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"task_key": "t"}, "missing parameters ['fence'], unknown ones []"),
        ({}, "missing parameters ['fence', 'task_key'], unknown ones []"),
        ({"task_key": "t", "fence": 1, "lease": 2}, "missing parameters [], unknown ones ['lease']"),
        ({"task_key": "t", "fense": 1}, "missing parameters ['fence'], unknown ones ['fense']"),
    ],
)
def test_all_parameters_are_set_and_no_others(values: dict[str, str | int], says: str):
    made = statement("SELECT 1 FROM tasks WHERE id = :task_key AND fence = :fence")
    with pytest.raises(AssertionError, match=re.escape(says)) as caught:
        made.bind(**values)
    assert "SELECT 1 FROM tasks" in str(caught.value)


@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.integers(0, 9) | st.text(), min_size=1)
)
def test_sqlite_reads_the_values_where_the_names_stand(values: dict[str, int | str]):
    names = [*values, *reversed(values)]
    made = statement(f"SELECT {', '.join(f':{name}' for name in names)}")
    bound = made.bind(**dict(reversed(values.items())))
    connection = sqlite3.connect(":memory:")
    (row,) = connection.execute(bound.sql, bound.values)
    connection.close()
    assert list(row) == [values[name] for name in names]


def test_every_part_of_a_task_is_deleted():
    database = SqliteD1()
    found = database.rows(
        "SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c ON c.name = 'task_id'"
    )
    with_task = database.rows(
        """SELECT m.name FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS k
        WHERE k."table" = 'tasks' AND k."from" = 'task_id' AND k.on_delete = 'CASCADE'"""
    )
    database.close()
    deleted = {one.sql.split()[2] for one in delete_parts("=", ":task_key") if one.sql.startswith("DELETE")}
    deleted |= {row["name"] for row in with_task}
    assert deleted == {row["name"] for row in found} > set()


def test_json_is_short_and_keeps_its_letters():
    assert as_json([["漢", 1], ("a", None)]) == '[["漢",1],["a",null]]'


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
