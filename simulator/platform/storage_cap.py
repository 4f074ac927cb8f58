"""The size of a database, and what happens when it may not grow.

Reports of full databases (`D1_ERROR: Exceeded maximum DB size`, at a `size_after` of 9,999,998,976) say that it is the
file that may not grow: pages that were freed are used again, so a row that fits is still written, and deleting makes
room. workerd gives as the size what is in use, without the pages that are free.
"""

import math
import sqlite3
from random import Random

from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import JsError

FULL = "D1_ERROR: Exceeded maximum DB size"
PAGE_BYTES = 4_096
LARGEST_BYTES = 10_000_000_000  # platform: the paid plan's; the free one's is smaller
HOLD_SECONDS = (2, 10, 25, 120, 900)
_APART_MS = 60_000
_PAGES = "SELECT (SELECT * FROM pragma_page_count) - (SELECT * FROM pragma_freelist_count)"


class Cap:
    """Holds a database to so many pages in use. Without a cap it may grow.

    It judges the pages in use, not those of the file: connections are used again, and what an earlier run has left free
    in the file must not change this one. The times and sizes of the fault come from a stream of their own.
    """

    def __init__(self, connection: sqlite3.Connection, faults: FaultPlan) -> None:
        self._connection = connection
        self._faults = faults
        self._rng = Random(f"{faults.rng.getstate()[1][:8]}/storage")  # the plan's seed, of which nothing is drawn
        self._until_ms: float = 0
        self.since_ms = 0
        self.spans: list[
            tuple[int, int]
        ] = []  # when it held, from the first to the last of holds that come close together
        self.told = False
        self.reported: int | None = None  # the size that each reply tells, where a test says so
        self._most: int | None = None
        self.refused = 0  # writes

    @property
    def holds(self) -> bool:
        """Whether the database may not grow now."""
        return self._most is not None

    @property
    def pages(self) -> int:
        """How many pages are in use."""
        return int(self._connection.execute(_PAGES).fetchone()[0])

    @property
    def size(self) -> int:
        """What is in use, in bytes: `size_after`.

        A database that is held is as large as the platform lets it be, unless it is another limit that holds it, the
        account's maybe, of which the size tells nothing.
        """
        if self.reported is not None:
            return self.reported
        return LARGEST_BYTES - self.room_bytes if self.holds and self.told else self.pages * PAGE_BYTES

    @property
    def room_bytes(self) -> int:
        """By how much a database that is held may grow."""
        return max(0, (self._most or 0) - self.pages) * PAGE_BYTES

    def longest_ms(self, since_ms: float, until_ms: float) -> float:
        """For how long at a stretch the fault held it in that time."""
        return max((min(end, until_ms) - max(began, since_ms) for began, end in self.spans), default=0)

    def hold(self, pages: int, until_ms: float = math.inf) -> None:
        """Let the database have no more than so many pages in use, until then."""
        self._most = pages
        self._until_ms = until_ms

    def lift(self) -> None:
        """Let it grow."""
        self._most = None

    def offer(self, now_ms: int) -> None:
        """Offer the fault with a write: the database is as large as it may be, for a while."""
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

    def check(self) -> None:
        """Refuse what a statement has just done, if the database has grown beyond its cap by it."""
        if self._most is not None and self.pages > self._most:
            self.refused += 1
            raise JsError(FULL)
