"""Adds up the results of many runs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from simulator.campaign.checks import end_checks, letting_go, undelayed, webhooks
from simulator.campaign.checks.custody import RUNS_JUDGED_FULL
from simulator.campaign.checks.patience import CALLS_JUDGED
from simulator.campaign.runs.fault_rates import AWAY, FULL, HANGING, WEBHOOKS
from simulator.campaign.runs.run import Result
from simulator.campaign.runs.totals import Totals
from simulator.engine.fault_kinds import KINDS

# Checks that excuse runs: by the name of the judged runs, the name of the excused runs, and the least share of both
# that must be judged. It is required only of campaigns with all profiles of faults, because one profile puts the same
# trouble into each world, which may excuse nearly all runs. The campaign must have at least `SCHEDULES_OF_LEAST`
# schedules in which a check met at least `SHARES_OF_LEAST` runs: a single schedule can excuse hundreds of runs. In a
# crowd, whose database's clock jumped, no sender had to be the only one.
_SHARES_LEAST = {
    letting_go.RUNS_JUDGED: (letting_go.RUNS_EXCUSED, 1 / 3),
    webhooks.SENDS_JUDGED: (webhooks.SENDS_EXCUSED, 3 / 4),
    end_checks.DOUBTS_JUDGED: (end_checks.DOUBTS_EXCUSED, 3 / 4),
}
SHARES_OF_LEAST = SCHEDULES_OF_LEAST = 100
_MUST_JUDGE = {
    AWAY: (CALLS_JUDGED, end_checks.TASKS_JUDGED),
    FULL: (RUNS_JUDGED_FULL,),
    WEBHOOKS: ("deliveries delivered",),
    HANGING: (webhooks.SHARES_JUDGED, webhooks.TRIES_JUDGED, undelayed.STARTS_JUDGED),
}
# If none of N runs fails, the rate of failure is at most 3/N, at 95 % (Hanley and Lippman-Hand, JAMA 1983).
RULE_OF_THREE = 3


@dataclass(slots=True)
class CampaignTally(Totals):
    """The results of several runs together. `failures` has, for each failed run, the seed and what broke."""

    schedules: int = 0
    profiles: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def count(self, result: Result) -> None:
        """Add the result of one run."""
        self.add(result)
        self.schedules += 1
        self.profiles[result.profile] += 1
        if result.failure is not None:
            self.failures.append((result.seed, result.failure))

    def merge(self, other: "CampaignTally") -> None:
        """Add the runs of another tally."""
        self.add(other)
        self.schedules += other.schedules
        self.profiles.update(other.profiles)
        self.failures += other.failures

    def fired_by_number(self) -> dict[int, int]:
        """Return how often faults struck, by the faults' numbers in the design's list of faults to survive."""
        counts = dict.fromkeys(sorted({kind.number for kind in KINDS.values()}), 0)
        for name, count in self.fired.items():
            counts[KINDS[name].number] += count
        return counts

    def bound(self) -> float:
        """Return the upper bound of the failure rate of a schedule, at 95 %, given that no schedule failed."""
        return min(1.0, RULE_OF_THREE / max(1, self.schedules))

    def verdict(self) -> str:
        """Return one line that says how many schedules failed, of how many, and which failure rate this shows."""
        if self.failures:
            return f"{len(self.failures)} of {self.schedules:,} schedules broke an invariant"
        return (
            f"0 of {self.schedules:,} schedules broke an invariant (at 95 %: fewer than {self.bound():.2g} of all do)"
        )

    def idle(self, profile: str | None) -> tuple[str, ...]:
        """Name the checks that a special campaign must judge and never did, or that excused too many runs of others."""
        if profile is not None:
            return tuple(name for name in _MUST_JUDGE.get(profile, ()) if not self.judged[name])
        shares = _SHARES_LEAST.items()
        return tuple(name for name, (excused, share) in shares if self._judges_less(name, excused, share))

    def _judges_less(self, name: str, excused: str, share: float) -> bool:
        met = self.judged[name] + self.judged[excused]
        is_enough = self.schedules >= SCHEDULES_OF_LEAST and met >= SHARES_OF_LEAST
        return is_enough and self.judged[name] < share * met

    def facts(self) -> dict[str, Any]:
        """Return all figures of the tally for JSON."""
        return {
            "schedules": self.schedules,
            "tasksAccepted": self.accepted,
            "statuses": dict(sorted(self.statuses.items())),
            "failed": dict(sorted(self.reasons.items())),
            "answered": dict(sorted(self.told.items())),
            "profiles": dict(sorted(self.profiles.items())),
            "modelCalls": self.calls,
            "inDoubt": self.in_doubt,
            "virtualSeconds": round(self.virtual_seconds),
            "steps": self.steps,
            "d1Writes": self.writes,
            "judged": dict(sorted(self.judged.items())),
            "schedulesThatJudged": dict(sorted(self.judging.items())),
            "faultsFired": dict(sorted(self.fired.items())),
            "faultsFiredByNumber": self.fired_by_number(),
            "failures": self.failures[:20],
            "failureRateBound95": None if self.failures else self.bound(),
        }
