"""The triggers that an isolate has lately recorded in the database, so that not every claim has to record one."""

from ..core import limits
from ..core.task import Route
from ..store.seen import Seen

_TRIGGERS = {Route.QUEUE: Seen.QUEUE, Route.DURABLE_OBJECT: Seen.ALARM}


class TriggerHeartbeats:
    """The triggers that an isolate has recorded. Losing them costs a statement.

    Times are seconds of a clock that does not jump.
    """

    def __init__(self) -> None:
        self._written_at: dict[Seen, float] = {}
        self._checked_at: float | None = None

    def due(self, route: Route, now: float) -> Seen | None:
        """Return the trigger that a run on this route proves to work; None if it need not be recorded now."""
        trigger = _TRIGGERS.get(route)
        written_at = None if trigger is None else self._written_at.get(trigger)
        return None if written_at is not None and now - written_at < limits.SEEN_SECONDS else trigger

    def written(self, trigger: Seen, now: float) -> None:
        """Remember that the trigger has been recorded in the database."""
        self._written_at[trigger] = now

    def may_check_sweep(self, now: float) -> bool:
        """Whether this isolate may check for a missed sweep now; the next check is SWEEP_LOOK_SECONDS later."""
        if self._checked_at is not None and now - self._checked_at < limits.SWEEP_LOOK_SECONDS:
            return False
        self._checked_at = now
        return True
