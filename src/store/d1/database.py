"""D1 as the store uses it. Every call is one transaction, sent again when it is unknown whether it landed."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from ...core import limits
from ...core.database_load import DatabaseLoad
from ...core.errors import (
    SchemaMissing,
    StoreCallsSpent,
    StoreError,
    StoreFull,
    StoreQuotaExhausted,
    StoreSilent,
    StoreUnavailable,
)
from ...core.meter import Meter
from ...core.quota import is_used_up
from ...core.storage import StorageUse
from .statement import BoundStatement

Row = Mapping[str, object]


class D1Statement(Protocol):
    """A prepared statement of the D1 binding."""

    def bind(self, *values: str | int | float | None) -> "D1Statement":
        """Return the statement with its parameters set."""
        ...


class D1(Protocol):
    """The part of the D1 binding that the store uses."""

    def prepare(self, sql: str) -> D1Statement:
        """Prepare one statement."""
        ...

    async def batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        """Run the statements as one transaction."""
        ...


# D1 distinguishes errors only by message (see "List of D1_ERRORs" in the D1 documentation). These messages say that
# SQLite, or D1 before it, refused a statement: it had no effect, and would be refused again. After any other error it
# is unknown whether the transaction landed: lost connections, overload, limits of time, memory and CPU, resets.
_REFUSED = (
    "sqlite_error",
    "sqlite_constraint",
    "sqlite_toobig",
    "sqlite_mismatch",
    "sqlite_range",
    "sqlite_auth",
    "constraint failed",
    "d1_type_error",
    "number of parameter bindings",
)
# No space: D1's limits for a database and an account ("Debug D1, List of D1_ERRORs"), and SQLite's own texts. Freed
# pages are used again: what fits into them is still written, and deletions free space.
_FULL = (
    "exceeded maximum db size",
    "exceeded maximum account storage",
    "database or disk is full",
    "sqlite_full",
)
# The limits of one invocation: statements, and subrequests of all kinds.
_SPENT = ("too many api requests by single worker invocation", "too many subrequests")


class Database:
    """Runs statements. Each call is one subrequest, and is given up after `seconds` without an answer.

    `load` and `storage` belong to the isolate: `load` records how long each answer takes, and `storage` how large the
    database is.
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
        self.sends = 0  # the sends of the transaction that returned last

    @property
    def rows(self) -> tuple[int, int]:
        """The rows that this invocation has read and written so far."""
        return self._meter.rows_read, self._meter.rows_written

    async def run(self, *statements: BoundStatement, sends: int = limits.STORE_SENDS) -> list[Sequence[Row]]:
        """Run the statements as one transaction, sent up to `sends` times, and return the rows of each.

        Raises StoreUnavailable when no send got an answer: the writes may have landed, or may land later. Raises
        StoreSilent, StoreQuotaExhausted, StoreFull or StoreCallsSpent at once, because another send would not help.
        Raises SchemaMissing if the tables are missing, and StoreError for a refused statement.
        """
        for send in range(1, sends + 1):
            try:
                results = await self._send(statements)
            except StoreUnavailable as error:
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
        for result in results:
            self._book(result)
        return [_rows(result) for result in results]

    async def _timed(self, prepared: list[D1Statement]) -> list[Mapping[str, object]]:
        clock, answered = asyncio.get_running_loop().time, False
        call = self._load.began(clock())
        try:
            async with asyncio.timeout(self._seconds):
                results = await self._binding.batch(prepared)
            answered = True
        except Exception as error:
            answered = not isinstance(error, TimeoutError)  # any other error is an answer too
            raise
        finally:
            self._load.ended(call, clock(), answered=answered)
        return results

    def _book(self, result: Mapping[str, object]) -> None:
        meta = result.get("meta")
        assert isinstance(meta, dict)
        written = int(meta.get("rows_written", 0))
        self._meter.add_rows(int(meta.get("rows_read", 0)), written)
        if written:
            self._load.wrote()
        if size := int(meta.get("size_after", 0)):
            self.storage.measured(size, asyncio.get_running_loop().time())


class Store:
    """The base of all stores: the statements of one subject over a database.

    Every method may raise StoreError, and every write is safe to send again, unless the method says otherwise.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def beside[S: "Store"](self, kind: type[S]) -> S:
        """Make a store of another kind over the same database."""
        return kind(self._database)


def _classified(error: Exception) -> StoreError:
    text = str(error).lower()
    if any(f"no such {what}" in text for what in ("table", "column", "index")):
        return SchemaMissing("the database lacks the tables: apply the migrations")
    if is_used_up(text):
        return StoreQuotaExhausted("the day's allowance of database rows is used up")
    if any(mark in text for mark in _FULL):
        return StoreFull("the database is full")
    if any(mark in text for mark in _SPENT):
        return StoreCallsSpent("this invocation has used up its database calls")
    if any(mark in text for mark in _REFUSED):
        return StoreError("the database refused a statement")
    return StoreUnavailable("the database cannot be reached")


def _rows(result: Mapping[str, object]) -> Sequence[Row]:
    rows = result["results"]
    assert isinstance(rows, list)
    return rows
