"""Checks that no model call starts while the database is full, once the Worker can know that it is full.

The Worker can know that the database is full from any reply of the database that reports its size. Calls that were
announced before the first reply that reports a full database may still start.
"""

from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.domain import limits


class Fullness:
    """Watches the model calls of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def called(self, task: str) -> None:
        """Check a call that has reached the model. Raises InvariantBroken."""
        cap = self._world.database.cap
        if not cap.holds or not cap.told or cap.room_bytes >= limits.ROOM_BYTES_A_CALL:
            return
        seconds = (self._world.now_ms() - cap.since_ms) / 1000
        # A call that was announced before the database became full leaves its isolate within this sum of seconds.
        if seconds > limits.STORE_SECONDS + limits.START_SECONDS_MOST + limits.LANE_SLACK_SECONDS:
            raise InvariantBroken(
                f"{task}: a call was made {seconds:.0f} s after the database became full, with"
                f" {cap.room_bytes} bytes of room for its output"
            )
