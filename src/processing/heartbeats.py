"""Which triggers an isolate has noted lately, so that not every claim carries a statement for it."""

from ..core import limits
from ..core.task import Route
from ..store.seen import Seen

_TRIGGERS = {Route.QUEUE: Seen.QUEUE, Route.DURABLE_OBJECT: Seen.ALARM}


class Sightings:
    """The memory of one isolate. Losing it costs a statement. Times are seconds of a clock that does not jump."""

    def __init__(self) -> None:
        self._noted_at: dict[Seen, float] = {}
        self._looked_at: float | None = None

    def wanted(self, route: Route, now: float) -> Seen | None:
        """Return the trigger that a run on this route shows to be alive, None if it need not be noted now."""
        what = _TRIGGERS.get(route)
        noted_at = None if what is None else self._noted_at.get(what)
        return None if noted_at is not None and now - noted_at < limits.SEEN_SECONDS else what

    def noted(self, what: Seen, now: float) -> None:
        """Remember that it is in the database."""
        self._noted_at[what] = now

    def may_look(self, now: float) -> bool:
        """Whether this isolate may look for a missed sweep now; the next look is SWEEP_LOOK_SECONDS later."""
        if self._looked_at is not None and now - self._looked_at < limits.SWEEP_LOOK_SECONDS:
            return False
        self._looked_at = now
        return True
