"""Runs tasks while the database may not grow for some seconds at a time: every paid output must be stored."""

from dataclasses import replace
from random import Random

import pytest

from simulator.campaign.ablations import BY_NAME
from simulator.campaign.ablations.circumstances import HELD_BRIEFLY, TIDY
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.campaign.runs.run import run_seed
from simulator.campaign.runs.totals import Totals
from simulator.campaign.subject.patches import Patch
from simulator.platform import storage_cap
from simulator.platform.storage_cap import Cap
from tests.support.tiers import sized

SCHEDULES = sized(quick=20, test=20, campaign=40)
TASKS = 6
CHUNKS = 6
APART_MS = 30_000


def loaded(rng: Random) -> Workload:
    """Draw tasks that are submitted within a minute, so that some arrive and some run while the database is full."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 60), chunks=CHUNKS) for _ in range(TASKS))
    return Workload(tasks=specs, first=first, last=first)


def test_a_full_database_that_is_freed_again_costs_no_call_and_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    offer, lifted_at = Cap.offer, dict[Cap, int]()

    def offer_apart(cap: Cap, now_ms: int) -> None:
        if cap.holds or now_ms - lifted_at.get(cap, -APART_MS) >= APART_MS:
            held = cap.holds
            offer(cap, now_ms)
            if held and not cap.holds:
                lifted_at[cap] = now_ms

    monkeypatch.setattr(Cap, "offer", offer_apart)
    for owner, name, value in (*TIDY, *HELD_BRIEFLY):
        monkeypatch.setattr(owner, name, value)
    total = Totals()
    for seed in range(SCHEDULES):
        result = run_seed(seed, fault_rates={"d1_full": 0.1}, workload=loaded(Random(f"full/{seed}")))
        assert result.failure is None, (seed, result.failure)
        total.add(result)
    assert total.fired["d1_full"] > SCHEDULES
    assert total.statuses["completed"] == total.accepted > SCHEDULES * TASKS / 2
    assert (total.calls, total.in_doubt) == (CHUNKS * total.accepted, 0)


def test_outputs_are_held_where_it_is_full_for_long() -> None:
    ablation = BY_NAME["outputs_held_when_full"]
    held: Patch = (storage_cap, "HOLD_SECONDS", (25, 120, 900))
    for_long = replace(ablation, circumstances=(*TIDY, held))
    assert sum("thrown away" in (for_long.run(seed).failure or "") for seed in range(40)) >= 8
    assert [seed for seed in range(10) if for_long.run(seed, ablated=False).failure] == []


def test_for_how_long_at_a_stretch_it_was_full() -> None:
    cap = Cap.__new__(Cap)
    cap.spans = [(10_000, 40_000), (100_000, 120_000)]
    assert cap.longest_ms(0, 200_000) == 30_000
    assert cap.longest_ms(25_000, 110_000) == 15_000
    assert cap.longest_ms(50_000, 110_000) == 10_000
    assert cap.longest_ms(50_000, 60_000) <= 0
