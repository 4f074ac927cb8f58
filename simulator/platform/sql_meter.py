"""Counts the rows that a statement reads and writes as D1 does, as closely as stock SQLite allows.

Rows written: each changed row counts once for the table and once for each of the row's index entries that changes. A
table with rowids and a text key has an index for the key; a WITHOUT ROWID table has none. An UPDATE touches the indexes
whose key has an updated column. A partial index whose WHERE names an updated column gets an entry if the condition
becomes true for a row. The entries of these partial indexes are therefore counted before and after an UPDATE, and the
entries of all partial indexes before and after an INSERT. If the number stays the same, entries with changed keys count
as written anew. The count of rows written is approximate: all other partial indexes of a table count as one, as if
exactly one of their conditions were always true; and an upsert counts as an insert.

Rows read: the number of rows that were returned or changed, or the number of rows in tables that the query plan scans,
if that number is higher. A statement that reads no table counts no rows read. workerd counts more exactly: it also
counts the reads of uniqueness checks and subqueries.
"""

import re
import sqlite3
from dataclasses import dataclass

_WRITES = {
    sqlite3.SQLITE_INSERT: "insert",
    sqlite3.SQLITE_UPDATE: "update",
    sqlite3.SQLITE_DELETE: "delete",
}


@dataclass(frozen=True, slots=True)
class Analysis:
    """The costs of a statement: `rows_per_change` rows are written for each changed row.

    `scans` are the tables that the query plan reads in full, and `reads` says whether it reads any table. `entries` are
    queries that count the entries of partial indexes that may grow, each with whether the index's keys may change.
    """

    writes: bool
    rows_per_change: int
    scans: tuple[str, ...]
    reads: bool
    entries: tuple[tuple[str, bool], ...] = ()


def analyse(connection: sqlite3.Connection, sql: str, parameters: int) -> Analysis:
    """Compile a statement without running it, and return its costs. Raises SQLite's error if the statement is wrong."""
    seen: list[tuple[str, str, str]] = []

    def note(action: int, first: str | None, second: str | None, _database: object, source: str | None) -> int:
        if action in _WRITES and source is None and first is not None and not first.startswith("sqlite_"):
            seen.append((_WRITES[action], first, second or ""))
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    try:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * parameters).fetchall()
    finally:
        connection.set_authorizer(None)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    scans = [match[1] for row in plan if (match := re.match(r"SCAN (\w+)", row[3])) and match[1] in tables]
    reads = any(re.match(r"(SCAN|SEARCH) (?!CONSTANT ROW|.*VALUES CLAUSE)", row[3]) for row in plan)
    rows = max((_rows_per_change(connection, *write, seen) for write in seen), default=0)
    writes = bool(seen) or not sql.lstrip()[:6].upper().startswith(("SELECT", "WITH"))
    entries: dict[str, tuple[str, bool]] = {}
    for kind, table, _ in seen:
        if kind != "delete":
            entries |= _entries(connection, table, kind, seen)
    return Analysis(writes, rows, tuple(scans), reads, tuple(sorted(entries.values())))


def _rows_per_change(
    connection: sqlite3.Connection, action: str, table: str, _column: str, seen: list[tuple[str, str, str]]
) -> int:
    options = connection.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (table,)).fetchone()
    without_rowid = bool(options and options[0])
    updated = {column for kind, name, column in seen if kind == "update" and name == table}
    count, partial_counted = 1, False
    if action == "delete":
        return count  # workerd counts a deleted row, but not its index entries.
    indexes = connection.execute("SELECT name, origin, partial FROM pragma_index_list(?)", (table,)).fetchall()
    for name, origin, partial in indexes:
        if (origin == "pk" and without_rowid) or (partial and (partial_counted or action == "insert")):
            continue
        if action != "update" or (
            updated & _keys_of(connection, name)
            and not (partial and updated & set(_words(_condition(connection, name))))
        ):
            count += 1
            partial_counted = partial_counted or bool(partial)
    return count


def _entries(
    connection: sqlite3.Connection, table: str, action: str, seen: list[tuple[str, str, str]]
) -> dict[str, tuple[str, bool]]:
    """Return queries that count the entries of a table's partial indexes, by the index.

    Two indexes may have the same condition, and each of them has entries of its own.
    For an insert the counted indexes are all partial indexes of the table; for an update, those whose WHERE names an
    updated column.
    """
    updated = {column for kind, name, column in seen if kind == "update" and name == table}
    queries: dict[str, tuple[str, bool]] = {}
    for name, partial in connection.execute("SELECT name, partial FROM pragma_index_list(?)", (table,)).fetchall():
        condition = _condition(connection, name) if partial else ""
        if condition and (action == "insert" or updated & set(_words(condition))):
            query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 - the words of our migrations
            queries[name] = query, bool(updated & _keys_of(connection, name))
    return queries


def _keys_of(connection: sqlite3.Connection, index: str) -> set[str]:
    keyed = connection.execute("SELECT name FROM pragma_index_info(?)", (index,)).fetchall()
    return {name for (name,) in keyed if name}


def _condition(connection: sqlite3.Connection, index: str) -> str:
    (definition,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()
    return str(definition).partition(" WHERE ")[2]


def _words(condition: str) -> list[str]:
    return re.findall(r"\w+", condition)
