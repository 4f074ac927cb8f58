"""Checks that a model that is away gets few calls: each waiting task makes one call at a time, with doubling pauses.

The pauses between calls determine how many calls a task may make, if nothing has disturbed the workers since shortly
before the model went away. A worker that dies, or a slow database, costs further calls; a message that comes twice does
not. While the model is away, none of the model's other faults strikes.
"""

from collections import Counter

from simulator.campaign.checks.disturbances import CRASHES
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.calls.pace import away_seconds
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.objects.laned_caller import lanes_for

# The seconds before the model went away in which no worker may have been disturbed, because a dead worker's task is
# taken over later.
UNDISTURBED_SECONDS = 120.0
CALLS_JUDGED = "calls to a model that was away"
RESUMED = "pauses that an operator ended"


def probes_most(seconds: float) -> int:
    """Return how many calls a task may make in this many seconds of absence, with the shortest pauses between them.

    The worker may take the first part of the absence for a brown-out, in which pauses are shorter.
    """
    waits, passed = 1, away_seconds(1, 0.0)
    while passed <= seconds:
        waits += 1
        pause = away_seconds(waits, 0.0)
        brown = passed <= limits.BROWN_OUT_SECONDS + limits.UNCOUNTED_SECONDS_MOST
        passed += min(pause, limits.UNCOUNTED_SECONDS_MOST) if brown else pause
    return waits


class Probes:
    """Watches the calls that each task of one world makes while the model is away. `judged` counts these calls."""

    def __init__(self, world: World, judged: Counter[str]) -> None:
        self._world = world
        self._judged = judged
        self._patience = float(world.variables.get("MODEL_PATIENCE_SECONDS", "0"))
        # The most calls of one lane beside its probes: those in flight or announced when the model went away, and as
        # many again once one of them succeeds.
        self._out_most = 4 * int(world.variables.get("AI_CONCURRENCY", "6"))
        self._away_since = 0.0
        self._resumes = 0  # How often operators have ended pauses.
        self._began: dict[tuple[TaskKey, int], float] = {}
        self._calls: Counter[tuple[TaskKey, int]] = Counter()

    def resumed(self) -> None:
        """Note that an operator asks to end pauses."""
        self._resumes += 1

    def called(self, task_key: TaskKey, retries: int, chunks: int) -> None:
        """Check a call for a task with this many chunks and retries that has reached the model or the model's host.

        Raises InvariantBroken.
        """
        now, model = self._world.loop.now(), self._world.model
        if now >= model.away_until or not self._patience or self._is_disturbed():
            return
        if model.away_since != self._away_since:
            self._away_since = model.away_since
            self._began.clear()
            self._calls.clear()
        key = task_key, retries
        self._calls[key] += 1
        self._judged[CALLS_JUDGED] += 1
        seconds = now - self._began.setdefault(key, now)
        # An operator who ends pauses lets each model be called once more, by one of its tasks.
        most = self._out_most * lanes_for(chunks) + probes_most(seconds) + self._resumes
        if self._calls[key] > most:
            raise InvariantBroken(
                f"{task_key}: {self._calls[key]} calls in {seconds:.0f} s to a model that is away, {most} may be made"
            )
        if seconds > self._patience + limits.AWAY_SECONDS_MOST:
            raise InvariantBroken(
                f"{task_key}: waits for a model after {seconds:.0f} s, has patience for {self._patience}"
            )

    def _is_disturbed(self) -> bool:
        """Whether a worker may have died or stood still since shortly before the model went away."""
        since = self._world.model.away_since - UNDISTURBED_SECONDS
        tallies = self._world.faults.tallies
        return self._world.deployed_at >= since or any(tallies[name].last_at >= since for name in CRASHES)
