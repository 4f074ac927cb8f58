"""The D1 binding over SQLite, in memory: batches as transactions, D1's limits, its error texts, faults to order."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.store.database import D1Statement

MIGRATIONS = Path(__file__).parents[2] / "migrations"

# D1's own limits, see "Limits" in its documentation.
_PARAMETERS_MOST = 100
_STATEMENT_BYTES_MOST = 100_000
_VALUE_BYTES_MOST = 2_000_000

NETWORK_LOST = "D1_ERROR: Network connection lost."
ROWS_USED_UP = (
    "D1_ERROR: Your account has exceeded D1's free tier daily row write limit. "
    "Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue."
)
OVERLOADED = "D1_ERROR: D1 DB is overloaded. Too many requests queued."

When = Literal["before", "after"]
Value = str | int | None


@dataclass(frozen=True, slots=True)
class SqliteStatement:
    """A prepared statement."""

    sql: str
    values: tuple[Value, ...] = ()

    def bind(self, *values: Value) -> D1Statement:
        """Return the statement with its parameters set."""
        assert all(value is None or type(value) is int or isinstance(value, str) for value in values), values
        if len(values) > _PARAMETERS_MOST:
            raise RuntimeError(f"D1_ERROR: too many SQL variables: {len(values)}")
        return SqliteStatement(self.sql, values)


class SqliteD1:
    """One database. `batches` counts the calls that reached it; `now_ms` is its clock.

    `fail(message, when, times)` makes the next batches raise: before they are done, or after the commit, when the
    caller cannot know that they were. A batch that fails for a reason of its own changes nothing.
    """

    def __init__(self, *, migrated: bool = True, now_ms: Callable[[], int] | None = None) -> None:
        self.now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self.batches = 0
        self._faults: list[tuple[str, When]] = []
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        # The statements ask for unixepoch('subsec'); older SQLite has no 'subsec', and tests have clocks of their own.
        self._connection.create_function("unixepoch", -1, lambda *_: self.now_ms() / 1000)
        if migrated:
            self.migrate()

    def migrate(self) -> None:
        """Apply all migrations."""
        for path in sorted(MIGRATIONS.glob("*.sql")):
            self._connection.executescript(path.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Close the database, which is lost then."""
        self._connection.close()

    def fail(self, message: str, when: When = "before", times: int = 1) -> None:
        """Make the next `times` batches raise an error with this message."""
        self._faults += [(message, when)] * times

    def heal(self) -> None:
        """Forget the failures that were ordered and have not happened."""
        self._faults.clear()

    def rows(self, sql: str, *values: Value) -> list[dict[str, object]]:
        """Look into the database, past the binding."""
        return [dict(row) for row in self._connection.execute(sql, values)]

    def prepare(self, sql: str) -> D1Statement:
        """Prepare one statement."""
        return SqliteStatement(sql)

    async def batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        """Run the statements as one transaction."""
        self.batches += 1
        message, when = self._faults.pop(0) if self._faults else ("", "never")
        if when == "before":
            raise RuntimeError(message)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [self._run(statement) for statement in statements]
        except Exception as error:
            self._connection.execute("ROLLBACK")
            raise RuntimeError(f"D1_ERROR: {error}: SQLITE_ERROR") from error
        self._connection.execute("COMMIT")
        if when == "after":
            raise RuntimeError(message)
        return results

    def _run(self, statement: D1Statement) -> Mapping[str, object]:
        assert isinstance(statement, SqliteStatement)
        if len(statement.sql.encode()) > _STATEMENT_BYTES_MOST:
            raise RuntimeError("statement too long")
        if any(isinstance(value, str) and len(value.encode()) > _VALUE_BYTES_MOST for value in statement.values):
            raise RuntimeError("string or blob too big")
        before = self._connection.total_changes
        rows = [dict(row) for row in self._connection.execute(statement.sql, statement.values).fetchall()]
        changes = self._connection.total_changes - before
        # What crosses into the Worker is what JSON can carry.
        return json.loads(json.dumps({"results": rows, "success": True, "meta": {"changes": changes}}))  # type: ignore[no-any-return]
