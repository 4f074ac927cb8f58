"""What every SQL statement is made of.

Parameters are numbered, and values only ever enter through them. `NOW` is the database's clock: leases and deadlines
are judged by it alone, since an isolate's clock may stand still, differ or jump. Each write is safe to send
twice: after an error nobody knows whether it landed (see "Read query retries" in the D1 documentation).

A task is named by its key, which begins with its tenant: see `core.ids`.
"""

from dataclasses import dataclass

NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the values of its parameters ?1, ?2, …; None binds as NULL."""

    sql: str
    values: tuple[str | int | None, ...] = ()


def wake(at: str) -> str:
    """When the sweep must look at a task that goes on: at this time, or at its deadline if that is earlier."""
    return f"min({at}, coalesce(deadline_at, {at}))"


def unended(tenant: int, most: int) -> str:
    """How many tasks of a tenant have not ended, counted up to a bound; given are the numbers of the parameters.

    It reads as many entries of an index as it counts, however many tasks have ended.
    """
    return f"""(SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant = ?{tenant} AND ended = 0
    LIMIT coalesce(?{most}, 0)))"""
