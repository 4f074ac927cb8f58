#!/usr/bin/env python3
"""Rewrites an export of the database (`wrangler d1 export`) so that D1 can import it, and prints the result.

D1 refuses a statement of more than 100,000 bytes (`statement too long: SQLITE_TOOBIG`), and an export writes each row
as one statement, whatever its length. This program writes the long values of such a row in pieces into a table of its
own, and then the row with its whole values, because a CHECK of the row's table may refuse a value that is not whole.

    python3 ops/importable.py backup.sql > import.sql
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

STATEMENT_BYTES_MOST = 99_000
# The size of a piece, in characters or bytes. As SQL a piece is at most four times longer.
PIECE = 20_000
# The values of a long row that its own statement still contains: together too few bytes for a long statement, as D1
# allows 100 columns.
SHORT = 200
# The table with the pieces of one row at a time, by the column that they belong to.
PIECES = '"importable_pieces"'


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


def _row(table: str, names: list[str], row: tuple[object, ...]) -> Iterator[str]:
    """Yield the statements that write a row."""
    insert = f"INSERT INTO {_quoted(table)} ({','.join(map(_quoted, names))}) VALUES("
    whole = f"{insert}{','.join(map(_literal, row))});"
    if len(whole.encode()) <= STATEMENT_BYTES_MOST:
        yield whole
        return
    values = []
    for name, value in zip(names, row, strict=True):
        if not isinstance(value, str | bytes) or len(value) <= SHORT:
            values.append(_literal(value))
            continue
        column = _literal(name)
        for start in range(0, len(value), PIECE):
            yield f"INSERT INTO {PIECES} VALUES({column},{start},{_literal(value[start : start + PIECE])});"
        pieces = f"(SELECT piece FROM {PIECES} WHERE name={column} ORDER BY start)"
        kind = "TEXT" if isinstance(value, str) else "BLOB"
        values.append(f"(SELECT CAST(group_concat(piece,'') AS {kind}) FROM {pieces})")
    yield f"{insert}{','.join(values)});"
    yield f"DELETE FROM {PIECES};"


def importable(export: str) -> Iterator[str]:
    """Return the statements that rebuild the exported database. Raises `sqlite3.Error` if the text is no export."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(export)
        schema = database.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        yield "PRAGMA defer_foreign_keys=TRUE;"
        yield f"CREATE TABLE {PIECES} (name TEXT, start INTEGER, piece, PRIMARY KEY (name, start)) WITHOUT ROWID;"
        for kind, table, sql in schema:
            if kind != "table":
                continue
            yield f"{sql};"
            # Generated columns are not in this list.
            names = [column[1] for column in database.execute(f"PRAGMA table_info({_quoted(table)})")]
            wanted = ",".join(map(_quoted, names))
            for row in database.execute(f"SELECT {wanted} FROM {_quoted(table)}"):
                yield from _row(table, names, row)
        yield f"DROP TABLE {PIECES};"
        yield from (f"{sql};" for kind, _, sql in schema if kind != "table")


def main(arguments: list[str]) -> int:
    """Read the named export and print the statements for the import. Returns the exit status."""
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
