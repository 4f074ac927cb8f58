"""Simulates a Durable Object's storage: key-value, SQL and the alarm, in one transaction between awaits.

Writes with no await between them commit together: at the end of the turn, or before a call leaves the object (the
output gate). If the object dies before the commit, all these writes are lost. While an asynchronous operation waits,
the object's input gate is closed: no event from outside reaches the object, but its own coroutines run on.
"""

import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from simulator.platform.binding_port import JsError
from simulator.platform.sql_values import NO_TRANSACTIONS, TRANSACTION, bound, read_rows, sqlite_message
from simulator.platform.sqlite_database import Connection, open_database
from simulator.platform.structured_clone import clone

_MISSING = object()


class ObjectData:
    """The data of a Durable Object on disk. `on_commit` is called after each commit of the object's data.

    `rows_written` counts each key, each row of SQL and each change of the alarm, without index entries.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.values: dict[str, Any] = {}
        self.alarm_ms: int | None = None
        self.on_commit: Callable[[], None] = lambda: None
        self.dirty = False
        self.rows_written = 0
        self._now_ms = now_ms
        self._undo: dict[str, Any] = {}
        self._alarm_before: int | None = None
        self._sql: Connection | None = None

    @property
    def sql(self) -> Connection:
        """The object's SQLite database, opened when it is first used."""
        if self._sql is None:
            self._sql = open_database()
            self._sql.clock.now_ms = self._now_ms
            if self.dirty:
                self._sql.execute("BEGIN")
        return self._sql

    def is_empty(self) -> bool:
        """Whether the object has no value, no table and no alarm stored."""
        tables = [] if self._sql is None else _tables(self._sql)
        return not self.values and not tables and self.alarm_ms is None

    def begin(self) -> None:
        """Open the implicit transaction, unless it is open already."""
        if not self.dirty:
            self.dirty = True
            self._alarm_before = self.alarm_ms
            if self._sql is not None:
                self._sql.execute("BEGIN")

    def write(self, key: str, value: Any) -> None:
        """Set a key within the transaction. The value `_MISSING` deletes the key."""
        self.begin()
        self.rows_written += 1
        self._undo.setdefault(key, self.values.get(key, _MISSING))
        if value is _MISSING:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def set_alarm(self, due_ms: int | None) -> None:
        """Set the alarm within the transaction, or delete it."""
        self.begin()
        self.rows_written += 1
        self.alarm_ms = due_ms

    def commit(self) -> None:
        """Make all changes since `begin` permanent."""
        if self.dirty:
            self.dirty = False
            self._undo.clear()
            if self._sql is not None:
                self._sql.execute("COMMIT")
            self.on_commit()

    def rollback(self) -> None:
        """Undo all changes since `begin`."""
        if self.dirty:
            self.dirty = False
            for key, value in self._undo.items():
                if value is _MISSING:
                    self.values.pop(key, None)
                else:
                    self.values[key] = value
            self._undo.clear()
            self.alarm_ms = self._alarm_before
            if self._sql is not None:
                self._sql.execute("ROLLBACK")

    def clear(self) -> None:
        """Delete all keys, tables and views, and the alarm."""
        self.begin()
        for key in list(self.values):
            self.write(key, _MISSING)
        self.alarm_ms = None
        if self._sql is not None:
            for kind, name in _tables(self._sql):
                self._sql.execute(f'DROP {kind} IF EXISTS "{name}"')


def _tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    ).fetchall()


class SqlCursor:
    """The cursor that `sql.exec` returns; all of its rows are read already."""

    def __init__(self, columns: list[str], rows: list[tuple[Any, ...]], written: int) -> None:
        self.columnNames = columns
        self.rowsRead = len(rows)
        self.rowsWritten = written
        self._rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while self._rows:
            yield dict(zip(self.columnNames, self._rows.pop(0), strict=True))

    def toArray(self) -> list[dict[str, Any]]:  # noqa: N802 - the platform's name
        """Return the rows that were not taken from the cursor yet, as dicts."""
        return list(self)

    def raw(self) -> list[list[Any]]:
        """Return the rows that were not taken from the cursor yet, as lists."""
        rows, self._rows = self._rows, []
        return [list(row) for row in rows]

    def one(self) -> dict[str, Any]:
        """Return the only row. Raises `JsError` if the cursor has no row, or more than one row."""
        if len(self._rows) != 1:
            found = "multiple results" if self._rows else "no results"
            raise JsError(f"Expected exactly one result from SQL query, but got {found}.")
        return next(iter(self))


class SqlStorage:
    """The synchronous `ctx.storage.sql` of an object."""

    def __init__(self, data: ObjectData, touch: Callable[[], None]) -> None:
        self._data = data
        self._touch = touch

    def exec(self, query: str, *parameters: Any) -> SqlCursor:
        """Run one or more statements. The parameters belong to the last statement of the SQL text. Raises `JsError`."""
        self._touch()
        connection = self._data.sql
        before = connection.total_changes
        if any(TRANSACTION.match(statement) for statement in _statements(query)):
            raise JsError(NO_TRANSACTIONS)
        try:
            values = bound(parameters)
            *first, last = _statements(query)
            for statement in first:
                connection.execute(statement)
            columns, rows = read_rows(connection.execute(last, values), blob=bytes)
        except sqlite3.ProgrammingError:
            raise JsError("Wrong number of parameter bindings for SQL query.") from None
        except sqlite3.Error as error:
            raise JsError(sqlite_message(error)) from None
        written = connection.total_changes - before
        self._data.rows_written += written
        return SqlCursor(columns, rows, written)


def _statements(query: str) -> list[str]:
    if ";" not in query.rstrip().rstrip(";"):
        return [query]
    parts: list[str] = []
    start = 0
    for at, character in enumerate(query):
        if character == ";" and sqlite3.complete_statement(query[start : at + 1]):
            parts.append(query[start : at + 1])
            start = at + 1
    if query[start:].strip():
        parts.append(query[start:])
    return parts


class InstanceStorage:
    """The `ctx.storage` of one instance of a Durable Object.

    `operate(label, writes, effect)` runs the effect of a storage operation, with the object's gates and with faults.
    """

    def __init__(
        self,
        data: ObjectData,
        operate: Callable[[str, bool, Callable[[], Any]], Coroutine[Any, Any, Any]],
        touch: Callable[[], None],
    ) -> None:
        self._data = data
        self._operate = operate
        self._touch = touch
        self.sql = SqlStorage(data, touch)

    def get(self, key: str | list[str]) -> Coroutine[Any, Any, Any]:
        """Return the value of a key, or None.

        For a list of keys, return a dict of the keys that exist, with their values.
        """
        values = self._data.values
        if isinstance(key, list):
            return self._operate("get", False, lambda: {k: clone(values[k]) for k in key if k in values})
        return self._operate("get", False, lambda: clone(values.get(key)))

    def put(self, key: str | dict[str, Any], value: Any = None) -> Coroutine[Any, Any, None]:
        """Set a key, or each key of a dict."""
        entries = {name: clone(item) for name, item in (key if isinstance(key, dict) else {key: value}).items()}

        def effect() -> None:
            for name, item in entries.items():
                self._data.write(name, item)

        return self._operate("put", True, effect)

    def delete(self, key: str | list[str]) -> Coroutine[Any, Any, Any]:
        """Delete a key and return whether it existed. For a list of keys, return how many of them existed."""
        keys = key if isinstance(key, list) else [key]

        def effect() -> bool | int:
            there = [name for name in keys if name in self._data.values]
            for name in there:
                self._data.write(name, _MISSING)
            return len(there) if isinstance(key, list) else bool(there)

        return self._operate("delete", True, effect)

    def list(self, options: dict[str, Any] | None = None) -> Coroutine[Any, Any, dict[str, Any]]:
        """Return keys and values, sorted by key. The options are those of the platform, for example `prefix`."""
        chosen = options or {}

        def effect() -> dict[str, Any]:
            keys = sorted(self._data.values, key=str.encode, reverse=bool(chosen.get("reverse")))
            keys = [key for key in keys if _listed(key, chosen)][: chosen.get("limit")]
            return {key: clone(self._data.values[key]) for key in keys}

        return self._operate("list", False, effect)

    def deleteAll(self) -> Coroutine[Any, Any, None]:  # noqa: N802 - the platform's name
        """Delete all stored data and the alarm (on the platform, the alarm from compatibility date 2026-02-24 on)."""
        return self._operate("deleteAll", True, self._data.clear)

    def getAlarm(self) -> Coroutine[Any, Any, int | None]:  # noqa: N802 - the platform's name
        """Return when the alarm is due, in milliseconds since the epoch.

        Returns None while the alarm's handler runs, or if no alarm is set.
        """
        return self._operate("getAlarm", False, lambda: self._data.alarm_ms)

    def setAlarm(self, time_ms: float) -> Coroutine[Any, Any, None]:  # noqa: N802 - the platform's name
        """Set the object's only alarm, which replaces the previous one.

        An alarm with a time in the past is due at once.
        """
        return self._operate("setAlarm", True, lambda: self._data.set_alarm(int(time_ms)))

    def deleteAlarm(self) -> Coroutine[Any, Any, None]:  # noqa: N802 - the platform's name
        """Delete the alarm. An alarm handler that already runs continues."""
        return self._operate("deleteAlarm", True, lambda: self._data.set_alarm(None))

    def sync(self) -> Coroutine[Any, Any, None]:
        """Wait until everything written is on disk."""
        return self._operate("sync", True, lambda: None)

    def transactionSync[T](self, function: Callable[[], T]) -> T:  # noqa: N802 - the platform's name
        """Run `function` in a savepoint: if the function raises, its SQL is undone.

        The function in the savepoint must not write key-value pairs, because they would not be undone.
        """
        self._touch()
        connection = self._data.sql
        connection.execute("SAVEPOINT sync")
        try:
            result = function()
        except BaseException:
            connection.execute("ROLLBACK TO sync")
            connection.execute("RELEASE sync")
            raise
        connection.execute("RELEASE sync")
        return result


def _listed(key: str, options: dict[str, Any]) -> bool:
    return (
        key.startswith(options.get("prefix") or "")
        and ("start" not in options or key >= options["start"])
        and ("startAfter" not in options or key > options["startAfter"])
        and ("end" not in options or key < options["end"])
    )
