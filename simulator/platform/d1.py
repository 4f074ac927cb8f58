"""Simulates a D1 database on real SQLite, with the methods that the Python SDK gives a Worker.

A statement outside a batch is a transaction of its own, and a batch is one transaction. The platform retries failed
reads, so the simulated Worker sees a tenth of the errors on reads that it sees on writes. The platform does not retry
writes: after "Network connection lost" a write may have landed.
"""

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from zlib import crc32

from simulator.engine.fault_kinds import LATE_ANSWER, STANDING
from simulator.engine.fault_plan import FaultPlan
from simulator.platform import sql_values
from simulator.platform.binding_port import CONNECTION_LOST, DirectPort, JsError, Pending, Port, Reply
from simulator.platform.shared_database import CallQueue
from simulator.platform.sql_meter import Analysis, analyse
from simulator.platform.sql_values import NO_TRANSACTIONS, TRANSACTION, bound, read_rows, sqlite_message
from simulator.platform.sqlite_database import Connection, Template
from simulator.platform.storage_cap import Cap

LOST = f"D1_ERROR: {CONNECTION_LOST}"
OVERLOADED = "D1_ERROR: D1 DB is overloaded. Requests queued for too long."
_RETRIED_READ = 0.1
STANDING_SECONDS = (30.0, 90.0)  # For so long D1 was seen to serve nobody: 60 to 80 s, three times in two days.
LATE_ANSWER_SECONDS = (0.5, 25.0)  # A late answer comes this many seconds after the call's effect.
_BARRED = re.compile(r"\s*(ATTACH|DETACH|VACUUM)\b", re.IGNORECASE)
_BLANK = re.compile(r"(\s|;|--[^\n]*(\n|\Z))*+")
NO_STATEMENT = "D1_ERROR: No SQL statements detected."


class DatabaseServer:
    """The database at the other end of the network. `now_ms` is the database's clock, which decides about leases."""

    def __init__(self, template: Template, faults: FaultPlan, platform_now_ms: Callable[[], int]) -> None:
        self.connection: Connection = template.acquire()
        self.connection.clock.now_ms = self.now_ms
        self.faults = faults
        self.offset_ms, self.jumped_at_ms = 0.0, float("-inf")  # the clock's error, and the time of its last jump
        self.calls = self.rows_read = self.rows_written = self.statements = 0
        self.observers: list[Callable[[], None]] = []  # Called after each database call that writes.
        self.note: Callable[[int], None] | None = None
        self.meter_reads = True
        self.line: CallQueue | None = None  # The queue of calls to the database, or None if calls are served at once.
        self.cap = Cap(self.connection, faults)
        self._still_until_ms = float("-inf")
        self._template = template
        self._platform_now_ms = platform_now_ms

    def now_ms(self) -> int:
        """Return the database's time: the virtual time plus the jumps of the database's clock."""
        return int(self._platform_now_ms() + self.offset_ms)

    def close(self) -> None:
        """Give the SQLite connection back to the template, for the next run."""
        self._template.release(self.connection)

    def serve(self, statements: "Sequence[PreparedStatement]", reply: Reply, latency: Callable[..., object]) -> None:
        """Carry out one call, with D1's faults. `latency(seconds, function, ...)` runs a function later."""
        faults = self.faults
        if faults.fires("clock_jumped", "d1", 0.3):
            self.offset_ms += faults.between(-5_000, 240_000)
            self.jumped_at_ms = self._platform_now_ms()
        if faults.fires("d1_overloaded", "d1"):
            reply(None, JsError(OVERLOADED))
            return
        if faults.fires(STANDING, "d1"):
            self._stand_still(faults.between(*STANDING_SECONDS))
        wait = self.wait_seconds()
        if self.line is not None:
            wait = self.line.join()
        elif wait:
            self._still_until_ms += 1  # the calls that have waited are served in order
        if wait:
            latency(wait, self._served, statements, reply, latency)
            return
        self._served(statements, reply, latency)

    def wait_seconds(self) -> float:
        """Return the seconds until D1 has served the calls that wait now, or will no longer stand still."""
        if self.line is not None:
            return self.line.wait_seconds()
        return max(0.0, (self._still_until_ms - self._platform_now_ms()) / 1000)

    def _stand_still(self, seconds: float) -> None:
        """Serve no call for this many seconds. The calls that come meanwhile wait, and land even if given up."""
        if self.line is not None:
            self.line.stall(seconds)
        else:
            self._still_until_ms = max(self._still_until_ms, self._platform_now_ms() + seconds * 1000)

    def _served(self, statements: "Sequence[PreparedStatement]", reply: Reply, latency: Callable[..., object]) -> None:
        faults = self.faults
        if faults.fires("d1_slow", "d1"):
            latency(faults.between(0.5, 20), self._carry_out, statements, reply, latency)
            return
        self._carry_out(statements, reply, latency)

    def _carry_out(
        self, statements: "Sequence[PreparedStatement]", reply: Reply, latency: Callable[..., object]
    ) -> None:
        faults = self.faults
        try:
            writes = any(self.analysis(statement).writes for statement in statements)
            scale = 1.0 if writes else _RETRIED_READ
            if faults.fires("d1_failed_before_commit", "d1", scale):
                reply(None, JsError(LOST))
                return
            if writes:
                self.cap.offer(self._platform_now_ms())
            if writes and faults.fires("d1_lands_later", "d1"):
                reply(None, JsError(LOST))
                latency(faults.between(0.05, 30), self._land, statements)
                return
            if faults.fires("d1_never_answers", "d1", scale):
                if faults.between(0, 1) < 0.5:
                    self._land(statements)
                return
            results = self.execute(statements)
        except JsError as error:
            reply(None, error)
            return
        if writes:
            for observe in self.observers:
                observe()
        self._answer(results, reply, latency, scale)

    def _answer(
        self, results: list[dict[str, Any]], reply: Reply, latency: Callable[..., object], scale: float
    ) -> None:
        faults = self.faults
        if faults.fires("d1_failed_after_commit", "d1", scale):
            reply(None, JsError(LOST))
        elif faults.fires(LATE_ANSWER, "d1", scale):
            latency(faults.between(*LATE_ANSWER_SECONDS), reply, results, None)
        else:
            reply(results, None)

    def _land(self, statements: "Sequence[PreparedStatement]") -> None:
        """Carry out a call whose caller does not get the answer."""
        with suppress(JsError):
            self.execute(statements)
            for observe in self.observers:
                observe()

    def analysis(self, statement: "PreparedStatement") -> Analysis:
        """Return the costs of a statement, which are computed once for each SQL text and template."""
        known: Analysis | None = self._template.analyses.get(statement.sql)
        if known is None:
            if len(statement.sql.encode()) > 100_000:
                raise JsError("D1_ERROR: statement too long: SQLITE_TOOBIG")
            if not statement.sql.strip():
                raise JsError(NO_STATEMENT)
            if TRANSACTION.match(statement.sql):
                raise JsError(f"D1_ERROR: {NO_TRANSACTIONS}")
            if _BARRED.match(statement.sql):
                raise JsError("D1_ERROR: not authorized: SQLITE_AUTH")
            if _BLANK.fullmatch(statement.sql):
                empty = "D1_ERROR: SQL code did not contain a statement."
                raise JsError(empty if ";" in statement.sql else NO_STATEMENT)
            try:
                known = analyse(self.connection, statement.sql, len(statement.values))
            except sqlite3.ProgrammingError as error:
                raise JsError(sql_values.binding_message(error)) from None
            except sqlite3.Error as error:
                raise JsError(f"D1_ERROR: {sqlite_message(error)}") from None
            self._template.analyses[statement.sql] = known
        return known

    def execute(self, statements: "Sequence[PreparedStatement]") -> list[dict[str, Any]]:
        """Run the statements as one transaction and return the results; `JsError` means that none took effect."""
        connection = self.connection
        self.calls += 1
        if not statements:
            raise JsError(NO_STATEMENT)
        single = len(statements) == 1 and not self.cap.holds
        now_ms = self.now_ms()
        connection.clock.now_ms = lambda: now_ms  # One time for all statements, computed once.
        if not single:
            connection.execute("BEGIN IMMEDIATE")
        try:
            results = [self._execute_one(statement) for statement in statements]
        except (sqlite3.Error, JsError) as error:
            if not single:
                connection.execute("ROLLBACK")
                self.cap.forget()
            if isinstance(error, JsError):
                raise
            if isinstance(error, sqlite3.ProgrammingError):
                raise JsError(sql_values.binding_message(error)) from None
            raise JsError(f"D1_ERROR: {sqlite_message(error)}") from None
        finally:
            connection.clock.now_ms = self.now_ms
        if not single:
            connection.execute("COMMIT")
        return results

    def _execute_one(self, statement: "PreparedStatement") -> dict[str, Any]:
        analysis = self.analysis(statement)
        connection = self.connection
        before = connection.total_changes
        entries = self._entries(analysis)
        cursor = connection.execute(statement.sql, statement.values)
        columns, rows = read_rows(cursor)
        changes = connection.total_changes - before
        if analysis.writes:
            self.cap.changed(changes)
        scanned = 0
        if self.meter_reads:
            for table in analysis.scans:
                scanned += connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
        read = max(len(rows), changes, scanned) if analysis.reads else 0
        written = changes * analysis.rows_per_change
        written += self._entries_written(analysis, entries, changes)
        self.statements += 1
        self.rows_read += read
        self.rows_written += written
        if changes and self.note is not None:
            self.note(crc32(repr(statement.values).encode("utf-8", "surrogatepass")) + changes)
        return {
            "success": True,
            "columns": columns,
            "results": rows,
            "meta": {
                "served_by": "simulation",
                "duration": 0.1,
                "changes": changes,
                "last_row_id": cursor.lastrowid or 0,
                "changed_db": changes > 0,
                "size_after": self.cap.size,
                "rows_read": read,
                "rows_written": written,
            },
        }

    def _entries(self, analysis: Analysis) -> list[int]:
        """Return how many entries each partial index of the analysis has, or nothing if costs are not measured."""
        if not self.meter_reads:
            return []
        return [self.connection.execute(query).fetchone()[0] for query, _ in analysis.entries]

    def _entries_written(self, analysis: Analysis, before: list[int], changes: int) -> int:
        written = 0
        for now, then, (_, keyed) in zip(self._entries(analysis), before, analysis.entries[: len(before)], strict=True):
            written += min(changes, now) if keyed and now == then else max(0, now - then)
        return written


class PreparedStatement:
    """A prepared statement in the Worker."""

    __slots__ = ("_database", "sql", "values")

    def __init__(self, database: "D1Binding", sql: str, values: tuple[Any, ...] = ()) -> None:
        self._database = database
        self.sql = sql
        self.values = values

    def bind(self, *values: Any) -> "PreparedStatement":
        """Return a new statement with the given parameters (None as NULL). Raises `JsError` for a refused type."""
        return PreparedStatement(self._database, self.sql, bound(values))

    def run(self) -> Pending:
        """Send the statement. The reply of D1 has `results`, `meta` and `success`."""
        return self._database.send("d1.run", [self], sql_values.first_result)

    all = run

    def first(self, column: str | None = None) -> Pending:
        """Send the statement. The reply is the first row, or the row's `column`, or None if there is no row."""
        return self._database.send("d1.first", [self], lambda results: sql_values.first_row(results, column))

    def raw(self, options: dict[str, Any] | None = None) -> Pending:
        """Send the statement. The reply has rows as lists, with `columnNames` after a list of the column names."""
        named = bool((options or {}).get("columnNames"))
        return self._database.send("d1.raw", [self], lambda results: sql_values.raw_rows(results, named=named))


class D1Binding:
    """The binding `DB` in one isolate."""

    def __init__(self, server: DatabaseServer, port: Port | DirectPort) -> None:
        self._server = server
        self._port = port

    def prepare(self, sql: str) -> PreparedStatement:
        """Return a prepared statement. Nothing is sent yet."""
        return PreparedStatement(self, sql)

    def batch(self, statements: Sequence[PreparedStatement]) -> Pending:
        """Send the statements as one transaction: all of them take effect, or none."""
        return self.send("d1.batch", list(statements), lambda results: [sql_values.as_result(one) for one in results])

    def send(self, label: str, statements: list[PreparedStatement], shape: Callable[[Any], Any]) -> Pending:
        """Send statements as one call. `shape` turns the results into the method's return value."""
        port, server = self._port, self._server

        def later(seconds: float, function: Callable[..., object], *args: Any) -> None:
            assert isinstance(port, Port), "no faults without a network"
            port.loop.call_later(seconds, function, *args, context=port.loop.outside)

        count = len(statements)
        return port.call(label, lambda reply: server.serve(statements, reply, later), shape=shape, statements=count)
