"""Searches without a guard of the store or of the worker: the campaign's ablations, and whether a search finds them."""

import time
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from simulator.campaign.ablations import bills, calls, dispatch, fences, late_landing, tallies, terms, withdrawals
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.states.scenes import dying, limits_of_scenes, small_scenes
from simulator.campaign.states.search import Scene, Search
from simulator.campaign.subject.patches import patched

STATES_MOST = 60_000
_OF_STORE_AND_WORKER = (fences, calls, bills, dispatch, withdrawals, terms, late_landing, tallies)
# Ablations of these modules that are not tried, by the reason.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "no program has a clock of its own": ("database_clock", "no_end_before_the_fold"),
    "two chunks have no lanes": (
        *("custody_of_lanes", "start_window_of_lanes", "start_window_of_lanes_of_queue"),
        *("held_cancellation_of_lanes", "held_cancellation_of_lanes_of_queue"),
    ),
    "the task is written before a search begins": ("tombstone_in_submission",),
    "time steps over the moments around a deadline": ("deadline_of_worker",),
    "it takes four deaths": ("sweep_gives_up",),
    "the sums of an erased task are not checked": ("counted_when_erased",),
    "no scene has shown it so far": (
        *("generation_in_retry", "counted_when_erased_under_a_dead_worker", "calls_of_dead_workers_are_counted"),
        *("calls_of_dead_workers_are_left_to_live_ones", "late_workers_settle_nothing"),
    ),
    "the database answers at once": ("stored_start_window",),
    "queue, objects and routes are no part of a scene": (
        *("send_fall_through", "dead_letter_consumer", "alarm_rearm", "continuation", "object_forgets"),
    ),
}


class Found(NamedTuple):
    """How a search without a guard ended."""

    scene: str
    states: int
    seconds: float
    what: str
    steps: list[str]


def guards() -> list[Ablation]:
    """Return the ablations that are tried."""
    left_out = {name for names in LEFT_OUT.values() for name in names}
    return [one for module in _OF_STORE_AND_WORKER for one in module.ABLATIONS if one.name not in left_out]


def found_without(ablation: Ablation) -> Found | None:
    """Search the small scenes without a guard, until a check fails: first with one fault on a path, then with two."""
    began = time.process_time()
    for one in _scenes():
        with limits_of_scenes(), patched(ablation.circumstances), patched(ablation.patches):
            search = Search(one)
            broken = search.run(states_most=STATES_MOST)
            states = len(search)
            search.close()
        if broken is not None:
            return Found(one.name, states, time.process_time() - began, broken.what, broken.steps)
    return None


def _scenes() -> Iterator[Scene]:
    return chain(small_scenes(1), [dying()], small_scenes(2))
