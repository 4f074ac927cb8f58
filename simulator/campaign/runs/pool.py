"""Runs seeds in several processes. A seed's run depends on the seed alone, not on its process or its neighbours."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from simulator.campaign.runs.run import run_seed
from simulator.campaign.runs.tally import CampaignTally

BLOCK = 50


def run_block(
    first: int,
    count: int,
    profile: str | None,
    terms: bool = False,
    crowd: bool = False,
    forms: bool = False,
    batches: bool = False,
) -> tuple[CampaignTally, float]:
    """Run `count` seeds in a row. Returns the tally of the seeds and their processor time in seconds."""
    started = time.process_time()
    tally = CampaignTally()
    for seed in range(first, first + count):
        tally.count(run_seed(seed, profile=profile, terms=terms, crowd=crowd, forms=forms, batches=batches))
    return tally, time.process_time() - started


def run_seeds(
    first: int,
    count: int,
    *,
    workers: int,
    profile: str | None = None,
    terms: bool = False,
    crowd: bool = False,
    forms: bool = False,
    batches: bool = False,
    progress: Callable[[CampaignTally, int], None] = lambda tally, done: None,
) -> tuple[CampaignTally, float]:
    """Run seeds in blocks. Return the tally of all seeds and their processor time in seconds.

    `progress` is called after each block of seeds.
    """
    total, seconds = CampaignTally(), 0.0
    for tally, spent in _blocks(first, count, workers, (profile, terms, crowd, forms, batches)):
        total.merge(tally)
        seconds += spent
        progress(total, tally.schedules)
    return total, seconds


def _blocks(
    first: int, count: int, workers: int, kind: tuple[str | None, bool, bool, bool, bool]
) -> Iterator[tuple[CampaignTally, float]]:
    jobs = [(start, min(BLOCK, first + count - start), *kind) for start in range(first, first + count, BLOCK)]
    if workers <= 1:
        for job in jobs:
            yield run_block(*job)
        return
    # Processes are spawned, because a seed's run must not depend on what the parent process has in memory.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(run_block, *job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
