#!/usr/bin/env python3
"""Rewrites an export of the database (`wrangler d1 export`) so that D1 can import it, and prints the result.

D1 refuses a statement of more than 100,000 bytes (`statement too long: SQLITE_TOOBIG`), and an export writes each row
as one statement, whatever its length. This program writes a long text in pieces: one statement writes the row with the
first piece, and each further statement appends a piece.

    python3 ops/importable.py backup.sql > import.sql
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

# Characters or bytes of a piece. As SQL a piece has at most four times as many bytes, and D1 allows about 100,000 bytes
# in a statement.
PIECE = 20_000


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _row(table: str, names: list[str], key: list[str], row: tuple[object, ...]) -> Iterator[str]:
    """Write a row: one statement with the first pieces, then one statement for each further piece of a long value."""
    first = [value[:PIECE] if isinstance(value, str | bytes) else value for value in row]
    columns = ",".join(map(_quoted, names))
    yield f"INSERT INTO {_quoted(table)} ({columns}) VALUES({','.join(map(_literal, first))});"
    here = " AND ".join(f"{_quoted(name)}={_literal(row[names.index(name)])}" for name in key)
    for name, value in zip(names, row, strict=True):
        if not isinstance(value, str | bytes):
            continue
        kind = "TEXT" if isinstance(value, str) else "BLOB"
        for start in range(PIECE, len(value), PIECE):
            longer = f"CAST({_quoted(name)} || {_literal(value[start : start + PIECE])} AS {kind})"
            yield f"UPDATE {_quoted(table)} SET {_quoted(name)}={longer} WHERE {here};"  # noqa: S608 - all of it is quoted


def importable(export: str) -> Iterator[str]:
    """Return the statements that rebuild the exported database. Raises `sqlite3.Error` if the text is no export."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(export)
        schema = database.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        yield "PRAGMA defer_foreign_keys=TRUE;"
        for kind, table, sql in schema:
            if kind != "table":
                continue
            yield f"{sql};"
            columns = database.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()  # without generated columns
            names = [column[1] for column in columns]
            key = [column[1] for column in columns if column[5]]
            wanted = ",".join(map(_quoted, names))
            for row in database.execute(f"SELECT {wanted} FROM {_quoted(table)}"):  # noqa: S608 - the export's own names
                yield from _row(table, names, key, row)
        yield from (f"{sql};" for kind, _, sql in schema if kind != "table")


def main(arguments: list[str]) -> int:
    """Read the named file and print its statements. Returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python3 ops/importable.py EXPORT.sql > IMPORT.sql\n")
        return 2
    try:
        for statement in importable(Path(arguments[0]).read_text("utf-8")):
            sys.stdout.write(f"{statement}\n")
    except (OSError, ValueError, sqlite3.Error) as error:
        sys.stderr.write(f"error: {arguments[0]} cannot be read as an export of a database: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
