"""Simulates the size of a database, and a database that may not grow.

Reports of full D1 databases (error `Exceeded maximum DB size`, at a `size_after` of 9,999,998,976) say that the
database's file may not grow. Freed pages are used again, so a row that fits into free pages is still written, and
deleting rows makes space. workerd reports the size in use, without free pages.
"""

import math
import sqlite3
from random import Random

from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import JsError

FULL = "D1_ERROR: Exceeded maximum DB size"
PAGE_BYTES = 4_096
LARGEST_BYTES = 10_000_000_000  # The largest size of a D1 database on the paid plan.
HOLD_SECONDS = (2, 10, 25, 120, 900)
_APART_MS = 60_000
_PAGES = "SELECT (SELECT * FROM pragma_page_count) - (SELECT * FROM pragma_freelist_count)"


class Cap:
    """Limits how many pages of a database may be in use while the cap is on.

    The cap counts the pages in use and not the pages of the file: connections are reused, and free pages that an
    earlier run left in the file must not change this run. The times and sizes of the fault `d1_full` come from a
    separate random stream.
    """

    def __init__(self, connection: sqlite3.Connection, faults: FaultPlan) -> None:
        self._connection = connection
        self._faults = faults
        # The separate random stream depends on the fault plan's seed.
        self._rng = Random(f"{faults.rng.getstate()[1][:8]}/storage")
        self._until_ms: float = 0
        self.since_ms = 0
        # When the fault capped the database, as (begin, end) in ms; caps within a minute of each other make one span.
        self.spans: list[tuple[int, int]] = []
        self.told = False
        self.reported: int | None = None  # The database's size that each reply reports, if a test sets it.
        self._most: int | None = None
        # The size in use, and the connection's count of changes when it was measured: most statements change no row.
        self._measured: tuple[int, int] | None = None
        self.refused = 0  # The number of refused writes.

    @property
    def holds(self) -> bool:
        """Whether the cap is on, so that the database may not grow now."""
        return self._most is not None

    @property
    def pages(self) -> int:
        """The number of the database's pages that are in use."""
        return int(self._connection.execute(_PAGES).fetchone()[0])

    @property
    def size(self) -> int:
        """The bytes that replies report as `size_after`.

        With `told`, a capped database reports the platform's largest size, less the bytes by which it may still grow.
        Without `told` a capped database reports the size in use, as if another limit stopped its growth, for example
        the account's.
        """
        if self.reported is not None:
            return self.reported
        if self.holds and self.told:
            return LARGEST_BYTES - self.room_bytes
        changes = self._connection.total_changes
        if self._measured is None or self._measured[0] != changes:
            self._measured = changes, self.pages * PAGE_BYTES
        return self._measured[1]

    def forget(self) -> None:
        """Measure the size in use again, after a change that the connection may not count."""
        self._measured = None

    @property
    def room_bytes(self) -> int:
        """The number of bytes by which a capped database may still grow."""
        return max(0, (self._most or 0) - self.pages) * PAGE_BYTES

    def longest_ms(self, since_ms: float, until_ms: float) -> float:
        """Return the longest time in ms for which the fault capped the database without a break between two times."""
        return max((min(end, until_ms) - max(began, since_ms) for began, end in self.spans), default=0)

    def hold(self, pages: int, until_ms: float = math.inf) -> None:
        """Allow the database at most this many pages in use until the time `until_ms`."""
        self._most = pages
        self._until_ms = until_ms

    def lift(self) -> None:
        """Let the database grow again."""
        self._most = None

    def offer(self, now_ms: int) -> None:
        """Offer the fault `d1_full` at a write: if it strikes, the database may not grow for a while."""
        faults = self._faults
        rate = faults.tallies["d1_full"].rate
        if self.holds and (not faults.active or now_ms >= self._until_ms):
            self.lift()
        faults.tallies["d1_full"].offered += 1
        if rate and faults.active and not self.holds and self._rng.random() < rate and faults.strike("d1_full", "d1"):
            pages = self.pages + self._rng.choice((0, 0, 0, 1, 2))
            held_ms = 1000 * self._rng.choice(HOLD_SECONDS)
            began_ms = now_ms if now_ms - self._until_ms > _APART_MS else self.spans.pop()[0]
            self.spans.append((began_ms, now_ms + held_ms))
            self.since_ms = now_ms
            self.hold(pages, now_ms + held_ms)
            self.told = self._rng.random() < 0.7

    def changed(self, changes: int) -> None:
        """Raise the error of a full database if a statement has made the database larger than its cap."""
        self.forget()
        if changes and self._most is not None and self.pages > self._most:
            self.refused += 1
            raise JsError(FULL)
