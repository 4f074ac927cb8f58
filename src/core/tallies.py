"""Defines the sums over ended tasks: which numbers of a task are added up, and what can be read from the sums."""

from collections.abc import Mapping, Sequence
from typing import Final

from .codes import TaskCode

# For each of the following durations in ms, the sums count the tasks that took at most that long.
BOUNDS_MS: Final = (500, 2_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000)
# A retried task keeps its earlier counts, so when it ends again, the sums add only what no earlier end has added. The
# column `tasks.counted` refers to the items of BILLED by their position, so a new item must be added at the end.
LADDER: Final = ("asked_again", "rejections", "repairs")
BILLED: Final = ("calls", "in_doubt", "fruitless", "truncated", "input_tokens", "output_tokens", *LADDER)
# For each error code, the name of the column that counts in the sums the tasks that failed with this code.
FAILED_WITH: Final = {code: f"failed_{code}" for code in TaskCode}
COUNTS: Final = ("ended", "retries", "dead_letters", "gap_chunks", *FAILED_WITH.values())
DURATIONS: Final = ("waited", "took")


def duration_columns(name: str) -> tuple[str, ...]:
    """Return the column names for the sums of one duration: tasks, total in ms, and tasks up to each of BOUNDS_MS."""
    return (name, f"{name}_ms", *(f"{name}_le_{bound}" for bound in BOUNDS_MS))


MEASURES: Final = (*COUNTS, *BILLED, *(column for name in DURATIONS for column in duration_columns(name)))

type Sums = Mapping[str, int]


def added(sums: Sequence[Sums]) -> Sums:
    """Add up several sums over ended tasks, measure by measure."""
    return {name: sum(one[name] for one in sums) for name in MEASURES}


def quantile_ms(sums: Sums, name: str, fraction: float) -> int | None:
    """Estimate within how many ms the given fraction of the tasks had finished. None without any task.

    The estimate interpolates between two neighbouring values of BOUNDS_MS. A time above the highest value of BOUNDS_MS
    counts as the highest value.
    """
    most = fraction * sums[name]
    if not most:
        return None
    below_ms, below = 0, 0
    for bound in BOUNDS_MS:
        count = sums[f"{name}_le_{bound}"]
        if count >= most:
            return round(below_ms + (bound - below_ms) * (most - below) / (count - below))
        below_ms, below = bound, count
    return BOUNDS_MS[-1]
