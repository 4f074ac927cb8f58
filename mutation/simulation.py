"""`python -m mutation.simulation PART…` runs parts of the simulation until the first schedule that breaks a check.

The part `crafted` runs the workloads that reveal missing safeguards, but without removing a safeguard.
`mutation.simulation` applies no ablation, because an ablation would always fail if a mutant had changed its text.
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

# The seeds that the parts of the simulation run. The deep parts of the simulation continue after the seeds of the quick
# parts.
SEEDS = range(250)
MORE_SEEDS = range(250, 2_500)
CRAFTED = range(8)
MORE_CRAFTED = range(8, 40)
PAIRS = 500

type Failures = Iterator[tuple[str, str | None]]  # each item has the name of what was run, and what broke, or None


def crafted(seeds: range) -> Failures:
    """Run the regressions, then the workloads of the ablations, one seed of all workloads after the other."""
    for regression in REGRESSIONS:
        yield f"regression {regression.name}", regression.run().failure
    for seed in seeds:
        for ablation in ABLATIONS:
            yield f"workload of {ablation.name}, seed {seed}", ablation.run(seed, ablated=False).failure


def plain(seeds: range) -> Failures:
    """Run seeds, each with the workload that the seed draws."""
    for seed in seeds:
        result: Result = run_seed(seed)
        yield f"seed {seed} ({result.profile})", result.failure


def crashes() -> Failures:
    """Run every flow with a crash at each of its suspension points."""
    for flow in FLOWS:
        all_singles(flow)
        yield flow.name, None


def pairs() -> Failures:
    """Run the flows with pairs of crashes."""
    sections.pairs_of_crashes(PAIRS)
    yield "pairs of crashes", None


def states() -> Failures:
    """Search every state of small tasks."""
    sections.states()
    yield "states", None


PARTS: dict[str, Callable[[], Failures]] = {
    "crafted": lambda: crafted(CRAFTED),
    "crashes": crashes,
    "seeds": lambda: plain(SEEDS),
    "more seeds": lambda: plain(MORE_SEEDS),
    "pairs of crashes": pairs,
    "states": states,
    "more crafted": lambda: crafted(MORE_CRAFTED),
}


def first_failure(part: str) -> str | None:
    """Run a part up to the first schedule that breaks a check.

    The result describes the failed schedule and what it broke. The result is None if no schedule breaks a check.
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
    """Run the parts up to the first failure. Return the exit status, 1 after a failure."""
    with child.reporting() as report:
        for part in parts:
            if failure := first_failure(part):
                report.fail(f"simulate {part}", failure)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
