"""Sets the database back in time under live workers of the whole Worker: writes of two workers must not mix."""

from collections.abc import Callable

import pytest

from simulator.campaign.load.overload import Bystander
from simulator.campaign.runs.restores import Writers, restored, restored_files
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from tests.support.tiers import sized

SCHEDULES = sized(quick=6, test=6, campaign=12)


def calm(seed: int, deployment: Deployment) -> Writers:
    return restored(seed, deployment, Bystander(), faults=False)


def disturbed(seed: int, deployment: Deployment) -> Writers:
    return restored(seed, deployment, Bystander(), faults=True)


def of_files(seed: int, deployment: Deployment) -> Writers:
    return restored_files(seed, deployment, Bystander())


@pytest.mark.parametrize(("play", "count"), [(calm, SCHEDULES), (disturbed, SCHEDULES), (of_files, 2 * SCHEDULES)])
@pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=["queue", "objects", "direct"])
def test_no_two_workers_writes_mix(deployment: Deployment, play: Callable[[int, Deployment], Writers], count: int):
    seen = [play(seed, deployment) for seed in range(count)]
    assert sum(one.twins for one in seen) > 0
    assert sum(one.refused for one in seen) > 0
