"""Notifies a run that its task may have changed, so that the run need not poll to find out."""

import asyncio


class Hint:
    """A host's notice about its task: that the task ended under a claim, or only that it may have changed."""

    def __init__(self) -> None:
        self._given: int | None = None
        self._waiting: asyncio.Future[None] | None = None

    def give(self, ended_fence: int = -1) -> None:
        """Wake the run, or make it check as soon as it waits. Claims up to this fence are over for good."""
        self._given = max(ended_fence, -1 if self._given is None else self._given)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def take(self) -> int | None:
        """Return the fence given since this was asked last, -1 if it was given without one; None: it was not given."""
        given, self._given = self._given, None
        return given

    def awaited(self) -> asyncio.Future[None]:
        """Return a future that is done once a notice comes, and at once if one came already."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._given is not None:
            self._waiting.set_result(None)
        return self._waiting
