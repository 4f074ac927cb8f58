"""Failures of which it is not known yet whose trouble they are: the call's, or that of a model that is away."""

from collections.abc import Collection

from ..store.claims import CallKey, FailedCall, Tried


class Suspense:
    """Holds the failures of the service that do not count, by their calls, until another call has succeeded."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._held: dict[CallKey, tuple[float, FailedCall, float]] = {}

    def hold(self, started_at: float, failed: FailedCall, wait: float) -> None:
        """Keep a failure of a call that started at a time. The latest of a call stands for all of it.

        If it counts, the call waits for so many seconds.
        """
        self._held[failed.key] = started_at, failed, wait

    def drop(self, key: CallKey) -> None:
        """Forget the failures of a call that has succeeded."""
        self._held.pop(key, None)

    def settle(self, there_at: float, out: Collection[CallKey]) -> list[tuple[FailedCall, float]]:
        """Count the failures after whose start a call has succeeded: one for each call, however often it failed.

        Where several calls failed, it was rather the model: then it is the next failure that may end one. Those that
        are `out` again stay held. Each comes with how many seconds its call waits.
        """
        alone = len(self._held) == 1
        counted = []
        for key, (started_at, failed, wait) in list(self._held.items()):
            if started_at > there_at or key in out:
                continue
            del self._held[key]
            before = failed.tried
            most = self._max_attempts if alone else max(before.attempts, self._max_attempts - 1)
            tried = Tried(min(before.attempts + 1, most), before.calls)
            counted.append((FailedCall(key, tried, tried.attempts >= self._max_attempts, failed.failure), wait))
        return counted
