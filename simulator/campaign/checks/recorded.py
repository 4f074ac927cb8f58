"""Reads the outputs that a world's database holds."""

import sqlite3
from functools import lru_cache

from simulator.campaign.subject.row_changes import InvariantBroken
from src.core.ids import TaskKey
from src.store.records import segments

type OutputKey = tuple[TaskKey, str, str]  # The key of an output: its task, its merge level and its index in the level.

_SEGMENTS = "SELECT task_id, level, places, hex(body) FROM segments"


class Recorded:
    """Reads the outputs of one database whenever they have changed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seen: list[tuple[str, ...]] = []

    def read(self) -> dict[OutputKey, str] | None:
        """Return all outputs, or None if no output has changed.

        Raises InvariantBroken if a model call has two outputs.
        """
        rows = self._connection.execute(_SEGMENTS).fetchall()
        if rows == self._seen:
            return None
        self._seen = rows
        found: dict[OutputKey, str] = {}
        for task_key, level, places, body in rows:
            outputs = _unpacked(body)
            if ",".join(idx for idx, _ in outputs) != places:
                raise InvariantBroken(f"{task_key}: a segment holds other outputs than {places}")
            for idx, output in outputs:
                key = TaskKey(task_key), str(level), idx
                if key in found:
                    raise InvariantBroken(f"{key}: two outputs were accepted, {found[key]!r} and {output!r}")
                found[key] = output
        return found


@lru_cache(maxsize=1_000)
def _unpacked(body: str) -> list[tuple[str, str]]:
    return [(str(output.key.position), output.text) for output in segments.unpack(0, body)]
