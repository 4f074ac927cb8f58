"""The database of the state space: each content of the tables has a number, and so has each call to the database.

What a call does to a content at a time is computed once, by SQLite, and then known.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from simulator.campaign.runs.run import TEMPLATE
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import JsError
from simulator.platform.d1 import DatabaseServer, PreparedStatement
from simulator.platform.sql_values import as_result

type Statements = tuple[tuple[str, tuple[Any, ...]], ...]  # A call to the database: SQL texts with their values.
# D1's answers say what a statement cost. Programs get the same cost for all, so that it tells no two answers apart.
_META = {"rows_read": 0, "rows_written": 0, "size_after": 0, "changes": 0}


class Effect(NamedTuple):
    """What a call to the database does: the content after it, its answer, and how many rows each statement changed."""

    after: int
    answer: int
    changes: tuple[int, ...]


class Tables:
    """All contents of a database that a search has met. Content 0 is that of the migrations."""

    KEPT = ("_rows", "_numbers", "contents", "_known", "calls", "_calls", "writes", "answers", "_answers", "effects")

    def __init__(self) -> None:
        self.now_ms = 0
        self._server = DatabaseServer(TEMPLATE, FaultPlan(Random(0), {}), lambda: self.now_ms)
        self._server.meter_reads = False
        self.connection = self._server.connection
        self._names = [table for table, _, _ in self.connection.leftovers]
        self._columns = [columns for _, columns, _ in self.connection.leftovers]
        # Tables whose rows go with their task's row. The first table is that of the tasks.
        self._below_tasks = {self._names.index(name) for name in ("batches", "batch_slices", "file_texts")}
        assert self._names[0] == "tasks"
        self._rows: list[tuple[Any, ...]] = []  # The rows of a table, by their number.
        self._numbers: dict[tuple[Any, ...], int] = {}
        self.contents: list[tuple[int, ...]] = []  # The numbers of all tables' rows, by the number of a content.
        self._known: dict[tuple[int, ...], int] = {}
        self.calls: list[Statements] = []
        self._calls: dict[Statements, int] = {}
        self.writes: list[bool] = []  # Whether a call may change the database, by its number.
        self.answers: list[Any] = []
        self._answers: dict[str, int] = {}
        self.effects: dict[tuple[int, int, int], Effect] = {}
        self._loaded = self._numbered(self._read(range(len(self._names)), ()))

    def close(self) -> None:
        """Give the connection back."""
        self.load(0)
        self._server.close()

    def call(self, statements: Statements) -> int:
        """Return the number of a call."""
        number = self._calls.setdefault(statements, len(self.calls))
        if number == len(self.calls):
            self.calls.append(statements)
            self.writes.append(any(self._server.analysis(one).writes for one in self.prepared(number)))
        return number

    def prepared(self, call: int) -> list[PreparedStatement]:
        """Return the statements of a call as the simulated database takes them."""
        return [PreparedStatement(None, sql, values) for sql, values in self.calls[call]]  # type: ignore[arg-type]

    def effect(self, content: int, call: int, now_ms: int) -> tuple[Effect, bool]:
        """Return what a call does at a time, and whether that is new. If so, the content after it is loaded."""
        key = content, call, now_ms
        if (known := self.effects.get(key)) is not None:
            return known, False
        self.load(content)
        self.now_ms = now_ms
        before = self.connection.total_changes
        changes: tuple[int, ...] = ()
        answer: Any
        try:
            results = self._server.execute(self.prepared(call))
        except JsError as error:
            answer = str(error)
        else:
            changes = tuple(result["meta"]["changes"] for result in results)
            answer = [as_result(result) | {"meta": _META} for result in results]
        if self.connection.total_changes != before:
            contents = self.contents[content]
            content = self._loaded = self._numbered(self._read(range(len(self._names)), contents))
        effect = self.effects[key] = Effect(content, self.answer(answer), changes)
        return effect, True

    def answer(self, answer: Any) -> int:
        """Return the number of an answer."""
        number = self._answers.setdefault(repr(answer), len(self.answers))
        if number == len(self.answers):
            self.answers.append(answer)
        return number

    def load(self, content: int) -> None:
        """Let the connection have this content."""
        if content == self._loaded:
            return
        execute = self.connection.execute
        loaded, others = self.contents[self._loaded], self.contents[content]
        other_tasks = loaded[0] != others[0]
        execute("BEGIN")
        for place, (now, wanted) in enumerate(zip(loaded, others, strict=True)):
            if now == wanted and not (other_tasks and place in self._below_tasks):
                continue
            execute(f'DELETE FROM "{self._names[place]}"')  # noqa: S608 - from the schema
            if rows := self._rows[wanted]:
                marks = ", ".join("?" * len(rows[0]))
                into = f'"{self._names[place]}" ({self._columns[place]})'
                self.connection.executemany(f"INSERT INTO {into} VALUES ({marks})", rows)  # noqa: S608
        execute("COMMIT")
        self._loaded = content

    def _read(self, places: Sequence[int], before: tuple[int, ...]) -> tuple[int, ...]:
        found = []
        for place in places:
            query = f'SELECT {self._columns[place]} FROM "{self._names[place]}"'  # noqa: S608 - from the schema
            rows = tuple(self.connection.execute(query).fetchall())
            if before and self._rows[before[place]] == rows:
                found.append(before[place])
                continue
            number = self._numbers.setdefault(rows, len(self._rows))
            if number == len(self._rows):
                self._rows.append(rows)
            found.append(number)
        return tuple(found)

    def _numbered(self, content: tuple[int, ...]) -> int:
        number = self._known.setdefault(content, len(self.contents))
        if number == len(self.contents):
            self.contents.append(content)
        return number
