"""A database that may not grow for some seconds at a time, under load: what is paid for is stored."""

from random import Random

import pytest

from simulator.campaign.ablations.circumstances import HELD_BRIEFLY, TIDY
from simulator.campaign.run import run_seed
from simulator.campaign.totals import Totals
from simulator.campaign.workload import DEPLOYMENTS, TaskSpec, Workload

SCHEDULES = 100
TASKS = 6
CHUNKS = 6


def loaded(rng: Random) -> Workload:
    """Tasks that come within a minute, so that some come and some run while the database is full."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 60), chunks=CHUNKS) for _ in range(TASKS))
    return Workload(tasks=specs, first=first, last=first)


def test_a_full_database_that_is_freed_again_costs_no_call_and_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full for 2 or 10 s at a time, less than half of a lease: every accepted task completes, each chunk with
    one call, and none is in doubt. Outputs are long, so that they fit into no page that is in use."""
    for owner, name, value in (*TIDY, *HELD_BRIEFLY):
        monkeypatch.setattr(owner, name, value)
    total = Totals()
    for seed in range(SCHEDULES):
        result = run_seed(seed, fault_rates={"d1_full": 0.03}, workload=loaded(Random(f"full/{seed}")))
        assert result.failure is None, (seed, result.failure)
        total.add(result)
    assert total.fired["d1_full"] > SCHEDULES
    assert total.statuses["completed"] == total.accepted > SCHEDULES
    assert (total.calls, total.in_doubt) == (CHUNKS * total.accepted, 0)
