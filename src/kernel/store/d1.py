"""D1: statements with named parameters, calls that send them, and functions that read one column of a row.

Each call is one transaction, sent again if it is unknown whether it took effect. Each statement is a constant beside
its subject, compiled at import, and the comment above it is its contract.

Some rules apply to all statements. Values enter an SQL statement only through parameters. A parameter whose name ends
in `_ms` is a number of milliseconds, and `:task_keys` is a JSON list. The contract of a statement says which of its
parameters may be NULL. Each write is safe to send twice and safe to arrive late, because after an error it is unknown
whether the write took effect (see "Read query retries" in the D1 documentation). A task's key, which begins with its
tenant (`domain.ids`), names the task in a statement. The column for a task's key is called `id` in the tables `tasks`,
`object_places` and `tombstones`, and `task_id` in other tables.

The rows come from our own SQL statements, so a wrong type in a column is a bug, and raises AssertionError.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from ..domain import limits
from ..domain.codes import TaskCode
from ..domain.database_state import DatabaseLoad, StorageUse
from ..domain.errors import (
    CapRefused,
    SchemaMissing,
    StoreCallsSpent,
    StoreError,
    StoreFull,
    StoreQuotaExhausted,
    StoreSilent,
    StoreUnavailable,
    is_used_up,
)
from ..domain.ids import TaskKey
from ..domain.meter import Meter

type Value = str | int | float | None

# _TOKENS matches quoted texts, quoted names and comments first: a colon or question mark in them is no parameter.
_TOKENS = re.compile(
    r"""
      '(?: [^'] | '' )*'
    | "(?: [^"] | "" )*"
    | --[^\n]*
    | /\*.*?(?: \*/ | \Z )
    | ::
    | :(?P<name>[a-z][a-z0-9_]*)
    | (?P<nameless>[?@$:])
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """An SQL statement with its values: `?1` is the place of the first one, and None is NULL."""

    sql: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement, once as `text` with named parameters and once as `sql` with numbered parameters.

    `parameters` are the names, and `names` is the set of them, which each binding is compared with.
    """

    text: str
    sql: str
    parameters: tuple[str, ...]
    names: frozenset[str]

    def bind(self, **values: Value) -> BoundStatement:
        """Return the statement with a value for each parameter. A missing or unknown one is an error."""
        if values.keys() != self.names:
            missing, unknown = sorted(self.names - values.keys()), sorted(values.keys() - self.names)
            raise AssertionError(f"missing parameters {missing}, unknown ones {unknown}: {self.text[:60]!r}")
        return BoundStatement(self.sql, tuple([values[name] for name in self.parameters]))


def statement(text: str) -> Statement:
    """Compile an SQL statement whose parameters have names, like `:task_key`. One that occurs twice has one number.

    Text within quotes or comments is never a parameter, nor is a double colon. Other forms of parameters are refused.
    """
    numbers: dict[str, int] = {}

    def numbered(token: re.Match[str]) -> str:
        assert not token["nameless"], f"a parameter without a name: {text[token.start() :][:40]!r}"
        name = token["name"]
        return f"?{numbers.setdefault(name, len(numbers) + 1)}" if name else token[0]

    return Statement(text, _TOKENS.sub(numbered, text).strip(), tuple(numbers), frozenset(numbers))


def as_json(value: object) -> str:
    """Write a list or a dict as JSON, to pass it as one parameter of an SQL statement."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


Row = Mapping[str, object]


class D1Statement(Protocol):
    """A prepared statement of the platform's binding to D1."""

    def bind(self, *values: str | int | float | None) -> "D1Statement":
        """Return the prepared statement with its parameters set."""
        ...


class D1(Protocol):
    """The part of the platform's binding to D1 that the store uses."""

    def prepare(self, sql: str) -> D1Statement:
        """Prepare one statement."""
        ...

    async def batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        """Run prepared statements as one transaction."""
        ...


# D1's errors can be told apart only by their messages (see "List of D1_ERRORs" in the D1 documentation). The messages
# in _REFUSED say that SQLite, or D1 before it, refused a statement; the statement had no effect and would be refused
# again. After other errors, such as a lost connection, overload, a reset, or a limit of time, memory or CPU, it is
# unknown whether the transaction took effect.
_REFUSED = (
    *("sqlite_error", "sqlite_constraint", "sqlite_toobig", "sqlite_mismatch", "sqlite_range", "sqlite_auth"),
    *("constraint failed", "d1_type_error", "number of parameter bindings"),
)
# The messages in _FULL say that the database has no space, by D1's limits for a database and an account ("Debug D1,
# List of D1_ERRORs") or by SQLite itself. A full database still accepts writes that fit into freed pages, and deletions
# free pages.
_FULL = ("exceeded maximum db size", "exceeded maximum account storage", "database or disk is full", "sqlite_full")
# Triggers of `features/cost/month.py` refuse a write with these messages.
_CAPPED = re.compile(r"\b(cost_limit|no_price): sqlite_constraint")
# The messages in _SPENT say that the invocation has used up its D1 statements, or its subrequests of all kinds.
_SPENT = ("too many api requests by single worker invocation", "too many subrequests")


class Database:
    """Runs SQL statements in D1. A call to D1 is one subrequest, and is given up after `seconds` without an answer.

    All `Database` objects of an isolate share two records: `load`, how long each answer of D1 takes, and `storage`, how
    large the database is.
    """

    def __init__(
        self,
        binding: D1,
        meter: Meter,
        *,
        seconds: float = limits.STORE_SECONDS,
        load: DatabaseLoad | None = None,
        storage: StorageUse | None = None,
    ) -> None:
        self._binding = binding
        self._meter = meter
        self._seconds = seconds
        self._load = load or DatabaseLoad()
        self.storage = storage or StorageUse()
        self.sends = 0  # How often the latest transaction that got a result was sent to D1.

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows of D1 this invocation has read, and how many it has written."""
        return self._meter.rows_read, self._meter.rows_written

    async def run(self, *statements: BoundStatement, sends: int = limits.STORE_SENDS) -> list[Sequence[Row]]:
        """Run the statements as one transaction, sent up to `sends` times, and return each statement's rows.

        Raises StoreUnavailable when no send got a result: the writes may have taken effect, or may still do so. Raises
        StoreSilent, StoreQuotaExhausted, StoreFull or StoreCallsSpent at once, because another send would not help.
        Raises SchemaMissing if the tables are missing, and StoreError for a refused statement.
        """
        for send in range(1, sends + 1):
            try:
                results = await self._send(statements)
            except (StoreUnavailable, CapRefused) as error:
                error.sends = send
                if send == sends or not error.passing or isinstance(error, StoreSilent):
                    raise
            else:
                self.sends = send
                return results
            await asyncio.sleep(limits.STORE_RESEND_SECONDS * send)
        raise AssertionError("unreachable: the last send returns or raises")

    async def _send(self, statements: Sequence[BoundStatement]) -> list[Sequence[Row]]:
        self._meter.spend_database_call(len(statements))
        try:
            prepared = [self._binding.prepare(item.sql).bind(*item.values) for item in statements]
            results = await self._timed(prepared)
        except TimeoutError:
            raise StoreSilent("the database gave no answer in time") from None
        except Exception as error:
            classified = _classified(error)
            if isinstance(classified, StoreFull):
                self.storage.found_full(asyncio.get_running_loop().time())
            if isinstance(classified, StoreQuotaExhausted):
                self._load.refused_for_the_day(asyncio.get_running_loop().time())
            raise classified from error
        return [self._booked(result) for result in results]

    async def _timed(self, prepared: list[D1Statement]) -> list[Mapping[str, object]]:
        clock, answered = asyncio.get_running_loop().time, False
        call = self._load.began(clock())
        try:
            async with asyncio.timeout(self._seconds):
                results = await self._binding.batch(prepared)
            answered = True
        except Exception as error:
            answered = not isinstance(error, TimeoutError)  # D1 answered the call with an error.
            raise
        finally:
            self._load.ended(call, clock(), answered=answered)
        return results

    def _booked(self, result: Mapping[str, object]) -> Sequence[Row]:
        """Return the rows of a statement's result, after its cost has been counted."""
        meta, rows = result.get("meta"), result["results"]
        assert isinstance(meta, dict)
        assert isinstance(rows, list)
        written = int(meta.get("rows_written", 0))
        self._meter.add_rows(int(meta.get("rows_read", 0)), written)
        if written:
            self._load.wrote()
        if size := int(meta.get("size_after", 0)):
            self.storage.measured(size, asyncio.get_running_loop().time())
        return rows


class Store:
    """The base class of all stores; each store reads and writes the tables of one subject.

    Unless a method says otherwise, it may raise StoreError, and its write is safe to send again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def beside[S: "Store"](self, kind: type[S]) -> S:
        """Make a store of another class for the same database."""
        return kind(self._database)


def _classified(error: Exception) -> StoreError:
    text = str(error).lower()
    if any(f"no such {what}" in text for what in ("table", "column", "index")):
        return SchemaMissing("the database lacks the tables: apply the migrations")
    if refused := _CAPPED.search(text):
        return CapRefused(lacks_price=refused[1] == "no_price")
    if is_used_up(text):
        return StoreQuotaExhausted("the day's allowance of database rows is used up")
    for marks, known, message in (
        (_FULL, StoreFull, "the database is full"),
        (_SPENT, StoreCallsSpent, "this invocation has used up its database calls"),
        (_REFUSED, StoreError, "the database refused a statement"),
    ):
        if any(mark in text for mark in marks):
            return known(message)
    return StoreUnavailable("the database cannot be reached")


def text(row: Row, name: str) -> str:
    """Read a TEXT NOT NULL column."""
    value = row[name]
    assert isinstance(value, str), name
    return value


def whole(row: Row, name: str) -> int:
    """Read an INTEGER NOT NULL column."""
    value = row[name]
    assert isinstance(value, int | float), name
    return int(value)


def task_code(row: Row, name: str) -> TaskCode:
    """Read an error code without checking it, because after a rollback only newer code may know the code."""
    return cast("TaskCode", text(row, name))


def maybe_text(row: Row, name: str) -> str | None:
    """Read a TEXT column."""
    return None if row[name] is None else text(row, name)


def maybe_whole(row: Row, name: str) -> int | None:
    """Read an INTEGER column."""
    return None if row[name] is None else whole(row, name)


def maybe_number(row: Row, name: str) -> float | None:
    """Read a REAL column."""
    value = row[name]
    assert value is None or isinstance(value, int | float), name
    return None if value is None else float(value)


def task_key(row: Row, name: str = "id") -> TaskKey:
    """Read a column that contains a task key, by default the column `id` of the table `tasks`."""
    return TaskKey(text(row, name))


def whole_list(row: Row, name: str) -> tuple[int, ...]:
    """Read a column that contains a JSON list of integers."""
    return tuple(json.loads(text(row, name)))


def json_object(row: Row, name: str) -> Mapping[str, object]:
    """Read a column that contains a JSON object."""
    value = json.loads(text(row, name))
    assert isinstance(value, dict), name
    return value


def maybe_json_object(row: Row, name: str) -> Mapping[str, object] | None:
    """Read a column that contains a JSON object, or NULL."""
    return None if row[name] is None else json_object(row, name)
