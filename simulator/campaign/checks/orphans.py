"""No row is left of a task whose own row is gone."""

import sqlite3

from simulator.campaign.subject.row_changes import InvariantBroken

_ORPHANS = tuple(
    f"SELECT task_id FROM {table} WHERE task_id NOT IN (SELECT id FROM tasks) LIMIT 1"  # noqa: S608 - constants
    for table in ("texts", "segments", "merges", "failures", "submissions", "webhook_deliveries", "file_texts")
)


def check_orphans(connection: sqlite3.Connection) -> None:
    """Check that an erasure was complete."""
    for query in _ORPHANS:
        if (left := connection.execute(query).fetchone()) is not None:
            raise InvariantBroken(f"{left[0]} is erased, and not all of it: {query}")
