"""Failures of the service of which it is not known yet whether they count: no other call has succeeded since."""

from collections.abc import Collection
from dataclasses import dataclass

from ...store.claims import CallKey, FailedCall


@dataclass(slots=True)
class Held:
    """A failure that may count yet. Its call started and failed at these times; `asked`: other isolates were, too.

    `chance` is for the jitter of its pause.
    """

    failed: FailedCall
    started_at: float
    failed_at: float
    chance: float
    asked: bool = False


class Suspense:
    """Holds the failures of each call until another call succeeds: then one of them may count, however many there are.

    So an outage, in which a call fails again and again, is one failure at most when it is over.
    """

    def __init__(self) -> None:
        self._held: dict[CallKey, Held] = {}

    def hold(self, failed: FailedCall, started_at: float, failed_at: float, chance: float) -> None:
        """Keep a failure. With one of the same call that is held already it is one, which began when that did."""
        before = self._held.get(failed.key)
        began_at = started_at if before is None else before.started_at
        self._held[failed.key] = Held(failed, began_at, failed_at, chance)

    def drop(self, key: CallKey) -> None:
        """Forget the failures of a call: it has succeeded, or a later one of them counts."""
        self._held.pop(key, None)

    def take(self, there_at: float, out: Collection[CallKey]) -> list[Held]:
        """Return the failures after whose start a call has succeeded. They are to be judged now, and held no longer.

        Those of calls that are `out` again stay.
        """
        taken = {key: held for key, held in self._held.items() if held.started_at < there_at and key not in out}
        for key in taken:
            del self._held[key]
        return list(taken.values())

    def open(self, keys: Collection[CallKey]) -> bool:
        """Whether a failure of one of these calls is held that other isolates have not been asked about."""
        return any(not held.asked for key, held in self._held.items() if key in keys)

    def asked(self) -> None:
        """Take note that other isolates have been asked."""
        for held in self._held.values():
            held.asked = True
