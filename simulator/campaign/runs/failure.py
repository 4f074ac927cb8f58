"""Makes a failing seed readable: shrinks it to the faults that matter, and shows the timeline."""

import re
from dataclasses import dataclass

from simulator.campaign.runs.run import Result, run_seed
from simulator.engine.shrinking import shrink

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LINES_MOST = 120


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure with as few faults as shrinking could reach."""

    result: Result
    faults_before: int
    muted: frozenset[int]

    def lines(self) -> list[str]:
        """Return the end of the timeline, as far as it concerns the task that the failure names."""
        found = _ID.search(self.result.failure or "")
        task = found[0] if found else ""
        lines = self.result.timeline.splitlines()
        telling = ("fault", "operator", "dies", "faults stop", "alarm dropped", "gives up", task or "no task")
        kept = [line for line in lines if any(mark in line for mark in telling)]
        return kept[-LINES_MOST:]


def explain(seed: int, *, profile: str | None = None, terms: bool = False, crowd: bool = False) -> Explanation | None:
    """Shrink a failing seed. The failure must stay of the same kind: its text without ids and figures.

    None: the seed does not fail in this process. Some seeds take another course when Python collects garbage elsewhere.
    """
    first = run_seed(seed, profile=profile, terms=terms, crowd=crowd)
    if first.failure is None:
        return None
    kind = _kind(first.failure)
    fired = fewest = first.fired.total()

    def fails(muted: frozenset[int]) -> bool:
        nonlocal fewest
        again = run_seed(seed, profile=profile, terms=terms, crowd=crowd, muted=muted)
        # Without one fault the run takes another course and may meet more faults, which makes the report no simpler.
        if again.failure is None or _kind(again.failure) != kind or again.fired.total() > fewest:
            return False
        fewest = again.fired.total()
        return True

    muted = shrink(fails, fired)
    told = run_seed(seed, profile=profile, terms=terms, crowd=crowd, muted=muted, keep_timeline=True)
    return Explanation(told, fired, muted)


def _kind(failure: str) -> str:
    return re.sub(r"\d+", "N", _ID.sub("ID", failure))[:80]
