"""Divides long work, so that other events of the isolate run in between."""

import asyncio

from ..domain import limits


class LongWork:
    """Counts the work of an event since its last await, in characters of JSON that are read and written.

    The clock stands still while code runs, so work is counted and not timed.
    """

    def __init__(self) -> None:
        self._chars = 0

    async def did(self, chars: int) -> None:
        """Count work that takes as long as so many characters. After WORK_CHARS_AT_ONCE of them, others have a turn.

        Only a timer of TIMER_SECONDS_LEAST or more lets other events run: a shorter one is a microtask.
        """
        self._chars += chars
        if self._chars >= limits.WORK_CHARS_AT_ONCE:
            self._chars = 0
            await asyncio.sleep(limits.TIMER_SECONDS_LEAST)
