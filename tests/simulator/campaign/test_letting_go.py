"""Tests the check of how long a host keeps an ended task, if its invocation cannot check the claim again."""

import pytest

from simulator.campaign.checks import letting_go
from simulator.campaign.clients.workload import SLOW_VARIABLES, TaskSpec, Workload
from simulator.campaign.runs.run import Result, run_seed
from simulator.platform.choices import DIRECT

# One run of the sweep works on both tasks of the workload. On the free plan, the first task uses so many subrequests
# that the second task has at most one check of its claim left.
WORKLOAD = Workload(
    tasks=(TaskSpec(0, 7, "none"), TaskSpec(0.1, 1, slow=True, actions=((42.0, "cancel"),))),
    first=DIRECT,
    last=DIRECT,
    plan="free",
    short_slices=False,
    variables=SLOW_VARIABLES,
)


def play(seed: int) -> Result:
    return run_seed(seed, workload=WORKLOAD, fault_rates={})


def test_a_host_without_a_look_to_spare_is_held_until_its_call_has_ended_and_counted():
    found = [play(seed) for seed in range(10)]
    assert [result.failure for result in found] == [None] * 10
    assert sum(result.judged[letting_go.RUNS_UNLOOKING] for result in found) > 0


def test_it_is_held_no_longer_than_that(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(letting_go, "FREED_SECONDS_MOST", -45.0)
    assert any("its host on direct is held" in (play(seed).failure or "") for seed in range(10))
