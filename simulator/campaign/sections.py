"""Runs the campaign's parts other than seeds (crashes, states, restores, ablations, replays) and returns figures."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import Any

from simulator.campaign.ablations import ABLATIONS
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.load.brownouts import ROUTES
from simulator.campaign.load.overload import Bystander
from simulator.campaign.runs.exhaustive import FLOWS, POINTS_MOST_FOR_PAIRS, all_singles, pairs
from simulator.campaign.runs.restores import restored, restored_files
from simulator.campaign.runs.run import run_seed
from simulator.campaign.states.scenes import limits_of_scenes, small_scenes
from simulator.campaign.states.search import Search
from simulator.campaign.subject.row_changes import InvariantBroken

type Say = Callable[[str], None]


def single_crashes() -> Counter[str]:
    """Run every single crash of every flow. Return the number of single crashes by flow. Raises InvariantBroken."""
    return Counter({flow.name: all_singles(flow).total() for flow in FLOWS})


def pairs_of_crashes(most: int | None = None) -> Counter[str]:
    """Run pairs of crashes of the flows that are short enough: all pairs, or about `most`, spread over the flows."""
    counts: Counter[str] = Counter()
    short = [flow for flow in FLOWS if len(flow.run({})) <= POINTS_MOST_FOR_PAIRS]
    each = None if most is None else -(-most // len(short))
    for flow in short:
        chosen = (
            pairs(flow) if each is None else islice(pairs(flow), 0, each * _stride(flow, each), _stride(flow, each))
        )
        for pair in chosen:
            flow.run(pair)
            counts[flow.name] += 1
    return counts


def _stride(flow: Any, each: int) -> int:
    """Return a step through a flow's pairs of crashes that spreads `each` pairs from its first point to its last."""
    points = len(flow.run({}))
    return max(1, 2 * points * (points - 1) // each)


def states(most: int = 1) -> dict[str, dict[str, float]]:
    """Search the small scenes with at most so many faults on a path, and return each search's figures.

    Raises InvariantBroken. `python -m simulator.states` searches larger scenes.
    """
    found: dict[str, dict[str, float]] = {}
    for number, scene in enumerate(small_scenes(most)):
        with limits_of_scenes():
            search = Search(scene)
            broken = search.run()
            found[f"{number}: {scene.name}"] = asdict(search.figures)
            search.close()
        if broken is not None:
            raise InvariantBroken("\n".join([f"{scene.name}: {broken.what}", *broken.steps]))
    return found


def restores(schedules: int) -> dict[str, dict[str, int]]:
    """Set the database back in this many schedules on each route, half of them with faults. Raises InvariantBroken."""
    found: dict[str, dict[str, int]] = {}
    for route, deployment in ROUTES.items():
        writers = [restored(seed, deployment, Bystander(), faults=seed % 2 > 0) for seed in range(schedules)]
        writers += [restored_files(seed, deployment, Bystander()) for seed in range(schedules)]
        found[route] = {
            "schedules": len(writers),
            "claimsWithAForgottenFence": sum(one.twins for one in writers),
            "writesRefused": sum(one.refused for one in writers),
        }
    return found


def catch(ablation: Ablation, seeds_most: int) -> tuple[int, str] | None:
    """Run seeds under an ablation until a check fails. Return the failing seed and what broke, or None."""
    for seed in range(seeds_most):
        result = ablation.run(seed)
        if result.failure is not None:
            return seed, result.failure
    return None


def ablations(seeds_most: int, controls: int, say: Say = lambda line: None) -> dict[str, dict[str, Any]]:
    """Find for each ablation a seed in which a check fails, and run control seeds with the safeguard on."""
    table: dict[str, dict[str, Any]] = {}
    for ablation in ABLATIONS:
        caught = catch(ablation, seeds_most)
        failed = [seed for seed in range(controls) if ablation.run(seed, ablated=False).failure is not None]
        table[ablation.name] = {
            "safeguard": ablation.safeguard,
            "firstSeed": None if caught is None else caught[0],
            "what": None if caught is None else caught[1][:200],
            "seedsMost": seeds_most,
            "controls": controls,
            "controlsFailed": failed,
        }
        say(f"{ablation.name}: caught by seed {table[ablation.name]['firstSeed']}")
    return table


def replays(seeds: int, times: int) -> dict[str, int]:
    """Find seeds that fail under ablations, run each failing seed again, and count the runs whose digests differ."""
    found = disagreements = seed = 0
    while found < seeds:
        ablation = ABLATIONS[seed % len(ABLATIONS)]
        first = ablation.run(seed)
        if first.failure is not None:
            found += 1
            for _ in range(times):
                again = ablation.run(seed)
                disagreements += (again.digest, again.failure) != (first.digest, first.failure)
        seed += 1
    return {"failingSeeds": found, "times": times, "disagreements": disagreements}


def throughput(count: int = 300) -> float:
    """Measure how many schedules one core runs per second of processor time."""
    first = 5_000_000
    for seed in range(first, first + 20):
        run_seed(seed)
    started = time.process_time()
    for seed in range(first, first + count):
        run_seed(seed)
    return count / (time.process_time() - started)
