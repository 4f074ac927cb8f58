"""Opens SQLite databases as the platform does, with its limits and a simulated clock; templates make it quick."""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# The limits are those of workerd (src/workerd/util/sqlite.c++, SqliteDatabase::setupSecurity), with the sizes of the D1
# limits page.
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_100,  # D1 allows 100,000 bytes; "EXPLAIN QUERY PLAN" takes up to 100.
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 5,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 32,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_DATES = ("unixepoch", "datetime", "date", "time", "julianday", "strftime")
_SUBSECOND = ("subsec", "subsecond")


class SettableClock:
    """The clock of a database, in milliseconds since the epoch. `now_ms` can be set while a connection is in use."""

    def __init__(self) -> None:
        self.now_ms: Callable[[], int] = int


class Connection(sqlite3.Connection):
    """An in-memory database whose SQL date functions read `clock`.

    The connection is closed when it is collected as garbage, on any thread.
    """

    clock: SettableClock
    schema_version: int
    leftovers: list[tuple[str, str, list[tuple[Any, ...]]]]  # Tables, their columns and the template's rows.

    def __del__(self) -> None:
        self.close()


def open_database() -> Connection:
    """Open an empty in-memory database with the platform's limits and date functions, in autocommit."""
    # A world is a reference cycle, so the garbage collector may free its connection on another thread.
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, cached_statements=512, check_same_thread=False, factory=Connection
    )
    connection.clock = clock = SettableClock()
    for limit, value in LIMITS.items():
        connection.setlimit(limit, value)
    connection.execute("PRAGMA foreign_keys = ON")
    for name in _DATES:
        function = _unixepoch(clock) if name == "unixepoch" else _dated(name, clock)
        connection.create_function(name, -1, function, deterministic=True)
    for name, date in (("current_timestamp", "datetime"), ("current_date", "date"), ("current_time", "time")):
        connection.create_function(name, 0, _dated(date, clock), deterministic=True)
    return connection


def _unixepoch(clock: SettableClock) -> Callable[..., Any]:
    general = _dated("unixepoch", clock)

    def unixepoch(*args: Any) -> Any:
        if args in (("subsec",), ("now", "subsec")):
            return clock.now_ms() / 1000
        return clock.now_ms() // 1000 if not args or args == ("now",) else general(*args)

    return unixepoch


_plain = sqlite3.connect(":memory:", check_same_thread=False, factory=Connection)


def _dated(name: str, clock: SettableClock) -> Callable[..., Any]:
    """Return SQLite's date function `name`, with the clock's time in place of 'now' and of a missing time."""
    at = 1 if name == "strftime" else 0

    def function(*args: Any) -> Any:
        values = list(args)
        now = clock.now_ms() / 1000
        if len(values) <= at:
            values += [now, "unixepoch"]
        elif str(values[at]).lower() in _SUBSECOND:
            values[at:at] = [now, "unixepoch"]
        elif str(values[at]).lower() == "now":
            values[at : at + 1] = [now, "unixepoch"]
        marks = ", ".join("?" * len(values))
        return _plain.execute(f"SELECT {name}({marks})", values).fetchone()[0]

    return function


class Template:
    """A database with the migrations applied, of which simulations get copies.

    Connections are reused. A reused connection keeps its prepared statements, and preparing statements would take most
    of a simulation's time.
    """

    def __init__(self, scripts: Iterable[str], *, begun: bytes | None = None) -> None:
        """Run scripts in an empty database, or in the database with the serialized content `begun`."""
        source = open_database()
        if begun is not None:
            source.deserialize(begun)
        for script in scripts:
            source.executescript(script)
        self.image = source.serialize()
        source.close()
        self.analyses: dict[str, Any] = {}
        self._idle: list[Connection] = []

    @classmethod
    def of_migrations(cls, folder: Path) -> "Template":
        """Make a template from all `*.sql` files in a folder, in the order of their names."""
        return cls(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql")))

    def acquire(self) -> Connection:
        """Return a connection to a database that equals the template."""
        if self._idle:
            return self._idle.pop()
        connection = open_database()
        connection.deserialize(self.image)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.schema_version = _schema_version(connection)
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%' ORDER BY rowid"
        ).fetchall()
        connection.leftovers = [_rows_of(connection, table) for (table,) in tables]
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back.

        Reset a connection's database for the connection's next user, or close the connection if the schema or a setting
        was changed.
        """
        connection.clock.now_ms = int
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if _schema_version(connection) != connection.schema_version or _settings(connection) != (1, 0):
            connection.close()
            return
        connection.execute("BEGIN")
        for table, _columns, _rows in reversed(connection.leftovers):
            connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - from the schema
        for table, columns, rows in connection.leftovers:
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({marks})', rows)  # noqa: S608
        connection.execute("COMMIT")
        self._idle.append(connection)


def _rows_of(connection: sqlite3.Connection, table: str) -> tuple[str, str, list[tuple[Any, ...]]]:
    """Return a table's name, the columns that are not generated, separated by commas, and the rows of these columns."""
    # `table_info` has no generated columns, which no INSERT may name.
    columns = ", ".join(
        f'"{name}"' for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    )
    rows = connection.execute(f'SELECT {columns} FROM "{table}"').fetchall()  # noqa: S608 - from the schema
    return table, columns, rows


def _settings(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return whether foreign keys are enforced, and whether CHECKs are ignored."""
    names = ("foreign_keys", "ignore_check_constraints")
    keys, unchecked = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return keys, unchecked


def _schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA schema_version").fetchone()[0])
