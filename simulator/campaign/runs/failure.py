"""Makes a failing seed readable: shrinks its run to the faults that matter, and shows the run's timeline."""

import re
from dataclasses import dataclass
from functools import partial

from simulator.campaign.runs.run import Result, run_seed
from simulator.engine.shrinking import shrink

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LINES_MOST = 120


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failing run with as few faults as shrinking could reach."""

    result: Result
    faults_before: int
    muted: frozenset[int]

    def lines(self) -> list[str]:
        """Return the last lines of the timeline that tell of faults or of the task that the failure names."""
        found = _ID.search(self.result.failure or "")
        task = found[0] if found else ""
        lines = self.result.timeline.splitlines()
        telling = ("fault", "operator", "dies", "faults stop", "alarm dropped", "gives up", task or "no task")
        kept = [line for line in lines if any(mark in line for mark in telling)]
        return kept[-LINES_MOST:]


def explain(
    seed: int,
    *,
    profile: str | None = None,
    terms: bool = False,
    crowd: bool = False,
    forms: bool = False,
    batches: bool = False,
) -> Explanation | None:
    """Shrink the faults of a failing seed, as long as its failure has the same text apart from ids and figures.

    Returns None if the seed does not fail in this process: some seeds take another course if Python collects garbage at
    other moments.
    """
    run = partial(run_seed, seed, profile=profile, terms=terms, crowd=crowd, forms=forms, batches=batches)
    first = run()
    if first.failure is None:
        return None
    kind = _kind(first.failure)
    fired = fewest = first.fired.total()

    def fails(muted: frozenset[int]) -> bool:
        nonlocal fewest
        again = run(muted=muted)
        # A run in which a fault is muted takes another course from there on, so it may meet more faults than before.
        # A run that meets more faults counts as no simpler.
        if again.failure is None or _kind(again.failure) != kind or again.fired.total() > fewest:
            return False
        fewest = again.fired.total()
        return True

    muted = shrink(fails, fired)
    told = run(muted=muted, keep_timeline=True)
    return Explanation(told, fired, muted)


def _kind(failure: str) -> str:
    return re.sub(r"\d+", "N", _ID.sub("ID", failure))[:80]
