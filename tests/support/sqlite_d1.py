"""The D1 binding for tests without a network: the simulator's database, with a clock and faults that a test sets."""

import asyncio
import atexit
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal, cast

from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import DirectPort, JsError
from simulator.platform.d1 import D1Binding, DatabaseServer, PreparedStatement
from simulator.platform.sqlite_database import Template
from src.kernel.store.d1 import D1Statement

MIGRATIONS = Path(__file__).parents[2] / "migrations"

NETWORK_LOST = "D1_ERROR: Network connection lost."
ROWS_USED_UP = (
    "D1_ERROR: Your account has exceeded D1's free tier daily row write limit. "
    "Upgrade to a paid plan or wait until tomorrow (midnight UTC) to continue."
)
OVERLOADED = "D1_ERROR: D1 DB is overloaded. Too many requests queued."

type When = Literal["before", "after", "later"]

_TEMPLATES = {True: Template.of_migrations(MIGRATIONS), False: Template([])}


class SqliteD1:
    """One database.

    `fail(message, when, times)` makes the next batches raise an error. With `when` "before", the failing batches are
    not executed. With "after", they are committed, but the caller cannot know this. With "later", their statements are
    executed at the next `land`. A batch that fails because of its own statements changes nothing. A batch takes
    `seconds`, half of them before its execution. The database is empty at first, with the migrations if it is
    `migrated`, or a copy of `template`.
    """

    def __init__(
        self, *, migrated: bool = True, now_ms: Callable[[], int] | None = None, template: Template | None = None
    ) -> None:
        self.now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self.batches = 0
        self.seconds = 0.0
        self._faults: list[tuple[str, When | None]] = []
        self._late: list[list[D1Statement]] = []
        # A second `close` must not give the connection back again: two tests would share it.
        server = DatabaseServer(template or _TEMPLATES[migrated], FaultPlan(Random(0)), self.now_ms)
        self._server: DatabaseServer | None = server
        self._binding = D1Binding(server, DirectPort())
        self._connection = server.connection
        self.cap = server.cap  # Limits the size of this simulated database.

    def migrate(self, most: int | None = None, *, applied: int = 0) -> None:
        for path in sorted(MIGRATIONS.glob("*.sql"))[applied:most]:
            self._connection.executescript(path.read_text(encoding="utf-8"))

    def snapshot(self) -> bytes:
        return self._connection.serialize()

    def restore(self, snapshot: bytes) -> None:
        """Set the database back to a snapshot, as Time Travel does. The clock of the database does not go back."""
        taken = sqlite3.connect(":memory:")
        taken.deserialize(snapshot)
        taken.backup(self._connection)
        taken.close()

    def close(self) -> None:
        """Close the database, whose connection, with prepared statements, returns to the template."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def fail(self, message: str, when: When = "before", times: int = 1, *, passing: int = 0) -> None:
        self._faults += [("", None)] * passing + [(message, when)] * times

    def heal(self) -> None:
        """Cancel the failures that `fail` has requested and that have not happened yet."""
        self._faults.clear()

    @property
    def late(self) -> int:
        return len(self._late)

    async def land(self, most: int | None = None) -> None:
        """Execute the batches that failed with "later", in order: all of them, or the first `most`."""
        for _ in range(len(self._late) if most is None else most):
            await self._binding.batch(cast(list[PreparedStatement], self._late.pop(0)))

    def rows(self, sql: str, *values: str | int | float | None) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def instructions(self, act: Callable[[], object]) -> int:
        count = 0

        def counted() -> int:
            nonlocal count
            count += 1
            return 0

        self._connection.set_progress_handler(counted, 1)
        try:
            act()
        finally:
            self._connection.set_progress_handler(None, 1)
        return count

    def prepare(self, sql: str) -> D1Statement:
        return self._binding.prepare(sql)

    async def batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        self.batches += 1
        if self.seconds:
            await asyncio.sleep(self.seconds / 2)
        try:
            return await self._batch(statements)
        finally:
            if self.seconds:
                await asyncio.sleep(self.seconds / 2)

    async def _batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        message, when = self._faults.pop(0) if self._faults else ("", None)
        if when == "later":
            self._late.append(statements)
        if when in {"before", "later"}:
            raise RuntimeError(message)
        try:
            results: list[Mapping[str, object]] = await self._binding.batch(cast(list[PreparedStatement], statements))
        except JsError as error:
            raise RuntimeError(error.message) from error
        if when == "after":
            raise RuntimeError(message)
        return results


@cache
def _runner() -> asyncio.Runner:
    made = asyncio.Runner()
    atexit.register(made.close)
    return made


def run_coroutine[T](coroutine: Coroutine[Any, Any, T]) -> T:
    runner = _runner()
    try:
        return runner.run(coroutine)
    finally:
        if left := asyncio.all_tasks(runner.get_loop()):
            for task in left:
                task.cancel()
            runner.run(_ended(left))


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
