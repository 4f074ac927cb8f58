"""Checks of one write to the database that need no history: its fence, the outputs it leaves, and their count."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulator.campaign.checks.recorded import OutputKey
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from src.kernel.domain.ids import TaskKey


def check_fences(
    under_claim: Mapping[str, tuple[str, tuple[str, ...]]],
    statements: Sequence[tuple[str, Sequence[Any]]],
    changes: Sequence[int],
    rows: Mapping[TaskKey, Row],
) -> None:
    """Check that each statement that changed something under a claim has the fence that the task had before it.

    `under_claim` has the names and the parameters of these statements. Raises InvariantBroken.
    """
    for (sql, bound), changed in zip(statements, changes, strict=True):
        if sql not in under_claim or not changed:
            continue
        name, parameters = under_claim[sql]
        values = dict(zip(parameters, bound, strict=True))
        task_key, fence = values["task_key"], values["fence"]
        row = rows.get(task_key)
        if row is None or row.fence != fence:
            there = "nothing" if row is None else f"fence {row.fence}"
            raise InvariantBroken(f"{task_key}: {name} of fence {fence:.0f} was written over {there}")


def check_outputs(before: Mapping[OutputKey, str], after: Mapping[OutputKey, str], rows: Mapping[TaskKey, Row]) -> None:
    """Check that the outputs of tasks that are there stay as they are. `rows` are those after the write."""
    for key, output in before.items():
        if key[0] in rows and after.get(key) != output:
            raise InvariantBroken(f"{key}: output was {output!r}, is {after.get(key)!r}")
    for key in after.keys() - before.keys():
        if key[0] not in rows:
            raise InvariantBroken(f"{key}: output of a task that is gone")


def check_counts(
    outputs: Mapping[OutputKey, str], rows: Mapping[TaskKey, Row], is_exact: Callable[[Row], bool]
) -> None:
    """Check each row's count of completed chunks. Unless it is exact, there may be more outputs than it says."""
    counts = Counter(task_key for task_key, level, _ in outputs if level == "0")
    for task_key, row in rows.items():
        count = counts[task_key]
        if count < row.completed or (count != row.completed and is_exact(row)):
            raise InvariantBroken(f"{task_key} ({row.status}): {row.completed} completed, {count} outputs")
