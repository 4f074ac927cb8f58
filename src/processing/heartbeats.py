"""Remembers which triggers an isolate has recorded in the database lately, so that not every claim records one."""

from ..core import limits
from ..core.task import Route
from ..store.seen import Seen

_TRIGGERS = {Route.QUEUE: Seen.QUEUE, Route.DURABLE_OBJECT: Seen.ALARM}


class TriggerHeartbeats:
    """The triggers (queue, alarm) that an isolate has recorded in D1.

    An isolate that has forgotten when it last recorded a trigger records the trigger again, with one statement in a
    claim. Times in `TriggerHeartbeats` are seconds of the event loop's steady clock.
    """

    def __init__(self) -> None:
        self._written_at: dict[Seen, float] = {}
        self._checked_at: float | None = None

    def due(self, route: Route, now: float) -> Seen | None:
        """Return the trigger that a run on this route proves to work; None if there is none, or if recorded lately."""
        trigger = _TRIGGERS.get(route)
        written_at = None if trigger is None else self._written_at.get(trigger)
        return None if written_at is not None and now - written_at < limits.SEEN_SECONDS else trigger

    def written(self, trigger: Seen, now: float) -> None:
        """Note that the trigger was recorded in the database at the time `now`."""
        self._written_at[trigger] = now

    def may_check_sweep(self, now: float) -> bool:
        """Whether this isolate checks for a missed sweep now: at most once in SWEEP_LOOK_SECONDS."""
        if self._checked_at is not None and now - self._checked_at < limits.SWEEP_LOOK_SECONDS:
            return False
        self._checked_at = now
        return True
