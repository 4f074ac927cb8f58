"""Keeps a run from starting calls on a nearly full database, unless a write has just found space for their outputs."""

from collections.abc import Awaitable

from ...core import limits
from ...core.errors import StoreFull
from .. import clock
from .context import RunContext
from .ledger import Ledger


class StorageGuard:
    """Prevents calls whose outputs the database could not store.

    While the database is not nearly full, the guard does nothing.
    """

    def __init__(self, context: RunContext) -> None:
        self._storage = context.invocation.isolate.storage
        self._most = context.settings.storage_bytes_most
        self._log = context.log

    @property
    def tight(self) -> bool:
        """Whether the database is so full that calls may start only after space for their outputs was found."""
        return self._storage.is_tight(self._most)

    def room_for(self, calls: int) -> int:
        """Return how many bytes must be free, in addition to the write, for the outputs of `calls` calls in flight."""
        return min(calls * limits.ROOM_BYTES_A_CALL, limits.ROOM_BYTES_MOST) if self.tight else 0

    async def announce(self, write: Awaitable[None], ledger: Ledger, room_bytes: int) -> bool:
        """Await the write that announces model calls, and return whether the database had space.

        If the database had no space, no call starts for STORAGE_REST_SECONDS.
        """
        try:
            await write
        except StoreFull:
            ledger.given_up()
            ledger.rest(clock.now() + limits.STORAGE_REST_SECONDS)
            self._log("storage_full", bytes=self._storage.size, in_flight=ledger.in_flight)
            return False
        if room_bytes:
            self._storage.found_room()
        return True
