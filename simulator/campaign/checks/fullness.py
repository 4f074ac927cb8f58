"""No call is made if a full database cannot store its output, once the Worker can know that the database is full.

Any reply that reports such a size shows this to the Worker. Calls that were announced before that reply may still be
out.
"""

from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.core import limits


class Fullness:
    """Watches the calls of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def called(self, task: str) -> None:
        """Record that a call has reached the model. Raises InvariantBroken."""
        cap = self._world.database.cap
        if not cap.holds or not cap.told or cap.room_bytes >= limits.ROOM_BYTES_A_CALL:
            return
        seconds = (self._world.now_ms() - cap.since_ms) / 1000
        # A call that was announced earlier leaves its isolate within this time.
        if seconds > limits.STORE_SECONDS + limits.START_SECONDS_MOST + limits.LANE_SLACK_SECONDS:
            raise InvariantBroken(
                f"{task}: a call was made {seconds:.0f} s after the database became full, with"
                f" {cap.room_bytes} bytes of room for its output"
            )
