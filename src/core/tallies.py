"""Sums over ended tasks: what is added up, and what can be read from the sums."""

from collections.abc import Mapping, Sequence
from typing import Final

from .codes import TaskCode

# In ms. For each bound the sums count the tasks that took at most so long.
BOUNDS_MS: Final = (500, 2_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000)
# A retried task keeps its bill. So its next end adds only what was not counted at an earlier end.
# `tasks.counted` has them by their place in this list, so a new one stands at the end.
LADDER: Final = ("asked_again", "rejections", "repairs")
BILLED: Final = ("calls", "in_doubt", "fruitless", "truncated", "input_tokens", "output_tokens", *LADDER)
# The column that counts the failed tasks with one code, for each code.
FAILED_WITH: Final = {code: f"failed_{code}" for code in TaskCode}
COUNTS: Final = ("ended", "retries", "dead_letters", "gap_chunks", *FAILED_WITH.values())
DURATIONS: Final = ("waited", "took")


def duration_columns(name: str) -> tuple[str, ...]:
    """Name the columns of one duration: the count, the sum in ms, and the count up to each of BOUNDS_MS."""
    return (name, f"{name}_ms", *(f"{name}_le_{bound}" for bound in BOUNDS_MS))


MEASURES: Final = (*COUNTS, *BILLED, *(column for name in DURATIONS for column in duration_columns(name)))

type Sums = Mapping[str, int]


def added(sums: Sequence[Sums]) -> Sums:
    """Add up sums, measure by measure."""
    return {name: sum(one[name] for one in sums) for name in MEASURES}


def quantile_ms(sums: Sums, name: str, fraction: float) -> int | None:
    """Estimate the time within which this fraction of the tasks finished. None without any task.

    The estimate interpolates between two neighbouring bounds. A time above the highest bound counts as that bound.
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
