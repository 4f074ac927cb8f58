"""Evaluates samples: medians, spread, ratios within a run, and whether a goal is met."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.references.systems import Sample
from bench.references.works import MORE_IS_BETTER, Goal, Work


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, the least and the greatest of some values."""

    median: float
    least: float
    most: float

    def record(self) -> dict[str, float]:
        """The spread as JSON."""
        return {"median": self.median, "least": self.least, "most": self.most}


def spread(values: list[float]) -> Spread:
    """Summarize one or more values."""
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and the measured value for it.

    A ratio divides the medians of two systems within one run. `ratio` summarizes the ratios of all runs, and its median
    decides whether the goal is met.
    """

    goal: Goal
    ratio: Spread
    runs_met: int
    met: bool

    def record(self) -> dict[str, object]:
        """The verdict as JSON."""
        goal = {"system": self.goal.system, "of": self.goal.of, "bound": self.goal.bound}
        return {**goal, "measured": self.ratio.record(), "runsMet": self.runs_met, "met": self.met}


@dataclass(slots=True)
class Outcome:
    """All samples of a work. `samples` has for each system a list of runs, and each run is a list of samples."""

    work: Work
    samples: dict[str, list[list[Sample]]] = field(default_factory=dict)

    def add(self, system: str, run: int, sample: Sample) -> None:
        """Add a sample to the samples of a run."""
        runs = self.samples.setdefault(system, [])
        while len(runs) <= run:
            runs.append([])
        runs[run].append(sample)

    @property
    def runs(self) -> int:
        """Return the number of runs in which at least one system was measured."""
        return max(map(len, self.samples.values()), default=0)

    def keep_whole(self) -> None:
        """Drop each run in which any system has fewer samples than required, for all systems."""
        measured = [self.samples.get(system, []) for system in self.work.systems]
        whole = [
            number
            for number in range(min(map(len, measured)))
            if all(len(runs[number]) == self.work.repeats for runs in measured)
        ]
        kept = {system: [runs[number] for number in whole] for system, runs in self.samples.items()}
        self.samples = kept if whole else {}

    def medians(self, system: str, *, seen: bool = False) -> list[float]:
        """Return the median of each run; with `seen`, the median of the times that the client measured."""
        return [
            statistics.median(value for sample in run for value in self.values(sample, seen=seen))
            for run in self.samples[system]
        ]

    def values(self, sample: Sample, *, seen: bool = False) -> list[float]:
        """Return the values of a sample: one value for each submission, or a single value for other measures."""
        seconds = sample.seen if seen else sample.elapsed
        match self.work.measure:
            case "submit":
                return sample.submits_ms
            case "elapsed":
                return [seconds]
            case "throughput":
                return [self.work.tasks * self.work.chunks / seconds]
            case "cpu":
                return [sample.cpu * 1000 / (self.work.tasks * self.work.chunks)]
            case "share":
                return [sample.counts["busyMs"] / (self.work.width * sample.counts["spanMs"])]

    def cpu_ms(self, system: str) -> Spread:
        """Return the CPU time of the server's processes for a chunk, including the chunk's share of its task's cost."""
        chunks = self.work.tasks * self.work.chunks
        return spread([sample.cpu / chunks * 1000 for run in self.samples[system] for sample in run])

    def calls_differ(self, system: str) -> list[Mapping[str, float]]:
        """Return the model's counts of those samples in which the model did not serve each chunk exactly once."""
        due = self.work.tasks * self.work.chunks
        counts = [sample.counts for run in self.samples[system] for sample in run]
        return [count for count in counts if (count["calls"], count["distinct"]) != (due, due)]

    def verdicts(self) -> list[Verdict]:
        """Judge each goal whose systems were measured."""
        return [
            verdict(self.work, goal, self.medians(goal.system), self.medians(goal.of) if goal.of else None)
            for goal in self.work.goals
            if goal.system in self.samples and (goal.of is None or goal.of in self.samples)
        ]

    def record(self) -> dict[str, object]:
        """The outcome as JSON."""
        work = self.work
        return {
            "key": work.key,
            "name": work.name,
            "measure": work.measure,
            "unit": work.unit,
            "tasks": work.tasks,
            "chunks": work.chunks,
            "delayMs": work.delay_ms,
            "systems": {system: self._record(system) for system in work.systems if system in self.samples},
            "goals": [each.record() for each in self.verdicts()],
        }

    def _record(self, system: str) -> dict[str, object]:
        medians = self.medians(system)
        samples = [sample for run in self.samples[system] for sample in run]
        return {
            **spread(medians).record(),
            "runs": medians,
            "seen": spread(self.medians(system, seen=True)).record(),
            "cpuMsAChunk": self.cpu_ms(system).record(),
            "load": spread([sample.load for sample in samples]).record(),
            "modelCalls": [sample.counts["calls"] for sample in samples],
            "distinctCalls": [sample.counts["distinct"] for sample in samples],
            "characters": [sample.counts["chars"] for sample in samples],
            "mostInFlight": max(sample.counts["mostInFlight"] for sample in samples),
        }


def verdict(work: Work, goal: Goal, values: list[float], others: list[float] | None) -> Verdict:
    """Judge one goal by the medians of the runs.

    If `others` is given, each median is divided by the other system's median of the same run.
    """

    def is_met(ratio: float) -> bool:
        return ratio >= goal.bound if work.measure in MORE_IS_BETTER else ratio <= goal.bound

    ratios = [value / other for value, other in zip(values, others or [1.0] * len(values), strict=True)]
    ratio = spread(ratios)
    return Verdict(goal, ratio, sum(map(is_met, ratios)), is_met(ratio.median))
