"""Lets a host notify its run that the task may have changed, so that the run need not poll the database."""

import asyncio


class Hint:
    """A host's notice to its run: the task has ended under a claim, or the task may have changed."""

    def __init__(self) -> None:
        self._given: int | None = None
        self._waiting: asyncio.Future[None] | None = None

    def give(self, ended_fence: int = -1) -> None:
        """Give the notice, which wakes the run if it waits.

        With `ended_fence`, the notice says that the task has ended for all claims up to this fence.
        """
        self._given = max(ended_fence, -1 if self._given is None else self._given)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def take(self) -> int | None:
        """Return the fence of the notice since the last `take`: -1 for a notice without one, None without a notice."""
        given, self._given = self._given, None
        return given

    def awaited(self) -> asyncio.Future[None]:
        """Return a future that is done when a notice arrives, or at once if a notice was not taken yet."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._given is not None:
            self._waiting.set_result(None)
        return self._waiting
