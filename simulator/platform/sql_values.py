"""Converts values for SQLite and back as workerd does: every number is a double, and a blob becomes a list."""

import math
import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from simulator.platform.binding_port import JsError
from simulator.platform.structured_clone import NUMBER_MOST, SAFE_INTEGER

# workerd's error message (util/sqlite.c++) for statements of transactions, without the advice at its end.
TRANSACTION = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END)\b", re.IGNORECASE)
NO_TRANSACTIONS = (
    "To execute a transaction, please use the state.storage.transaction() or state.storage.transactionSync() APIs"
    " instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements."
)
_PLAIN = (str, type(None))


def bound(values: Sequence[Any]) -> tuple[Any, ...]:
    """Convert parameters as D1 and object storage do: a number binds as REAL, a bool as 0.0 or 1.0.

    On Workers as in the simulator, `typeof(?)` of 5 is 'real', and a TEXT column without STRICT stores '5.0'. Raises
    `JsError` for values that the bindings refuse.
    """
    return tuple([_bound(value) for value in values])


def _bound(value: Any) -> Any:
    kind = type(value)
    if value is None:
        return None
    if isinstance(value, str):
        return value if kind is str and value.isascii() else _text(value)
    if kind is int or kind is bool:
        if abs(value) > NUMBER_MOST:
            raise JsError(f"D1_TYPE_ERROR: Type 'bigint' not supported for value '{value}'")
        return float(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    raise JsError(f"D1_TYPE_ERROR: Type 'object' not supported for value '{kind.__name__}'")


def _text(value: str) -> str:
    """Return the string as JavaScript passes it on. A subclass, such as a StrEnum's member, becomes a plain string."""
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError:  # JavaScript replaces lone surrogates with U+FFFD.
        return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def read_rows(cursor: sqlite3.Cursor, *, blob: type = list) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return a cursor's column names and rows, with values as a Worker gets them: 5.0 as 5, a blob as `blob`."""
    if cursor.description is None:
        return [], []
    rows = cursor.fetchall()
    for index, row in enumerate(rows):
        for value in row:
            kind = type(value)
            if kind not in _PLAIN and not (kind is int and -SAFE_INTEGER <= value <= SAFE_INTEGER):
                rows[index] = tuple([_read(value, blob) for value in row])
                break
    return [column[0] for column in cursor.description], rows


def _read(value: Any, blob: type) -> Any:
    if isinstance(value, bytes):
        return blob(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= SAFE_INTEGER:
        return int(value)
    if isinstance(value, int) and abs(value) > SAFE_INTEGER:
        return float(value)
    return value


def sqlite_message(error: sqlite3.Error) -> str:
    """Return the text that workerd gives an SQLite error, followed by the error's code."""
    extended = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if extended == "unknown":  # Python's sqlite3 has no name for a STRICT column's refusal.
        extended = "SQLITE_CONSTRAINT_DATATYPE" if error.sqlite_errorcode == 3091 else "SQLITE_ERROR"
    message = str(error)
    if message.startswith("Expression tree is too large"):
        extended = "SQLITE_ERROR"
    elif "too big" in message or "too large" in message:
        return "string or blob too big: SQLITE_TOOBIG"
    base = "_".join(extended.split("_")[:2])
    return f"{message}: {base}" + (f" (extended: {extended})" if base != extended else "")


def binding_message(error: sqlite3.Error) -> str:
    """Return D1's message for a statement whose parameters do not fit, or for several statements in one."""
    if "one statement at a time" in str(error):
        return "D1_ERROR: A prepared SQL statement must contain only one statement."
    return "D1_ERROR: Wrong number of parameter bindings for SQL query."


def raw_rows(results: list[dict[str, Any]], *, named: bool) -> list[list[Any]]:
    """Return the rows of the first result as lists. With `named`, a list of the column names comes first."""
    rows = [list(row) for row in results[0]["results"]]
    return [list(results[0]["columns"]), *rows] if named else rows


def as_result(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a statement as a Worker gets it, with rows as dicts."""
    columns = result["columns"]
    rows = [dict(zip(columns, row, strict=True)) for row in result["results"]]
    return {"success": True, "results": rows, "meta": result["meta"]}


def first_result(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result of the first statement of a call."""
    return as_result(results[0])


def first_row(results: list[dict[str, Any]], column: str | None) -> Any:
    """Return the first row of the first statement of a call, or a column of it. Raises `JsError`."""
    rows = as_result(results[0])["results"]
    if not rows:
        return None
    if column is None:
        return rows[0]
    if column not in rows[0]:
        raise JsError(f"D1_COLUMN_NOTFOUND: Column not found ({column})")
    return rows[0][column]
