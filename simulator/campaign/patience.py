"""A model that is away is asked rarely: by each task that waits for it one call at a time, with pauses that double.

How often is told from the pauses alone, where nothing else went wrong. Faults of other kinds cost further calls.
"""

from collections import Counter

from simulator.campaign.row_changes import InvariantBroken
from simulator.engine.fault_kinds import MODEL_AWAY
from simulator.platform.world import World
from src.core import limits
from src.core.retry import away_seconds


def probes_most(seconds: float) -> int:
    """Return how many pauses, each as short as may be, fit into so many seconds."""
    waits, passed = 1, away_seconds(1, 0.0)
    while passed <= seconds:
        waits += 1
        passed += away_seconds(waits, 0.0)
    return waits


class Probes:
    """Watches the calls of one world that are made while its model is away, task by task."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._patience = float(world.variables.get("MODEL_PATIENCE_SECONDS", "0"))
        self._out_most = 4 * int(
            world.variables.get("AI_CONCURRENCY", "6")
        )  # out by then, or announced, and again once one of them succeeds
        self._away_until = 0.0
        self._began: dict[str, float] = {}
        self._calls: Counter[str] = Counter()

    def called(self, tag: str) -> None:
        """A call has reached the model, or its host. Raises InvariantBroken."""
        now, model = self._world.loop.time(), self._world.model
        if now >= model.away_until or not self._patience:
            return
        if any(tally.fired for name, tally in self._world.faults.tallies.items() if name != MODEL_AWAY):
            return
        if model.away_until != self._away_until:
            self._away_until = model.away_until
            self._began.clear()
            self._calls.clear()
        self._calls[tag] += 1
        seconds = now - self._began.setdefault(tag, now)
        most = self._out_most + probes_most(seconds)
        if self._calls[tag] > most:
            raise InvariantBroken(
                f"{tag}: {self._calls[tag]} calls within {seconds:.0f} s to a model that is away, {most} may be made"
            )
        if seconds > self._patience + limits.AWAY_SECONDS_MOST:
            raise InvariantBroken(f"{tag}: waits for a model after {seconds:.0f} s, has patience for {self._patience}")
