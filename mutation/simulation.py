"""`python -m mutation.simulation PART…` runs parts of the simulation until the first schedule breaks something.

`crafted` runs the workloads that reveal a missing safeguard, with all safeguards on. Ablations are never applied: an
ablation whose text a mutant has changed would always fail.
"""

import sys
from collections.abc import Callable, Iterator

from mutation import child

child.spare_ablations()

from simulator.campaign import sections  # noqa: E402 - the ablations must be spared before they are imported
from simulator.campaign.ablations import ABLATIONS  # noqa: E402
from simulator.campaign.runs.exhaustive import FLOWS, all_singles  # noqa: E402
from simulator.campaign.runs.regressions import REGRESSIONS  # noqa: E402
from simulator.campaign.runs.run import Result, run_seed  # noqa: E402

# How many seeds each part of the simulation runs. The deep parts begin after the seeds of the quick ones.
SEEDS = range(250)
MORE_SEEDS = range(250, 2_500)
CRAFTED = range(8)
MORE_CRAFTED = range(8, 40)
PAIRS = 500

type Failures = Iterator[tuple[str, str | None]]  # a failure names the part that was run, and what broke in it


def crafted(seeds: range) -> Failures:
    """Run the ablations' workloads and the regressions, seed by seed, so that each workload starts early."""
    for regression in REGRESSIONS:
        yield f"regression {regression.name}", regression.run().failure
    for seed in seeds:
        for ablation in ABLATIONS:
            yield f"workload of {ablation.name}, seed {seed}", ablation.run(seed, ablated=False).failure


def plain(seeds: range) -> Failures:
    """Run seeds, each with the workload that it draws."""
    for seed in seeds:
        result: Result = run_seed(seed)
        yield f"seed {seed} ({result.profile})", result.failure


def crashes() -> Failures:
    """Crash at every suspension point of every flow."""
    for flow in FLOWS:
        all_singles(flow)
        yield flow.name, None


def pairs() -> Failures:
    """Crash twice."""
    sections.pairs_of_crashes(PAIRS)
    yield "pairs of crashes", None


def races() -> Failures:
    """Run two workers on one task, in every order."""
    sections.races()
    yield "races", None


PARTS: dict[str, Callable[[], Failures]] = {
    "crafted": lambda: crafted(CRAFTED),
    "crashes": crashes,
    "seeds": lambda: plain(SEEDS),
    "more seeds": lambda: plain(MORE_SEEDS),
    "pairs of crashes": pairs,
    "races": races,
    "more crafted": lambda: crafted(MORE_CRAFTED),
}


def first_failure(part: str) -> str | None:
    """Run a part up to the first schedule that breaks something.

    Returns the schedule and what it broke; None if no schedule breaks anything.
    """
    what = part
    try:
        for what, failure in PARTS[part]():
            if failure is not None:
                return f"{what}: {failure}"
    except Exception as error:  # noqa: BLE001 - whatever comes of a mutant is what the check has found
        return f"after {what}: {type(error).__name__}: {error}"
    return None


def main(parts: list[str]) -> int:
    """Run the parts. The exit status is 1 at the first failure."""
    with child.reporting() as report:
        for part in parts:
            if failure := first_failure(part):
                report.fail(f"simulate {part}", failure)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
