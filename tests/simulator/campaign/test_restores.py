"""Sets the database back in time under live workers of the whole Worker: writes of two workers must not mix."""

import pytest

from simulator.campaign.runs.restores import Writers, restored, restored_files
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from tests.simulator.campaign.test_walls import Nobody
from tests.support.tiers import sized

ROUTES = pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=["queue", "objects", "direct"])
SCHEDULES = sized(quick=6, test=6, campaign=12)


def schedules(deployment: Deployment, *, faults: bool = False) -> list[Writers]:
    return [restored(seed, deployment, Nobody(), faults=faults) for seed in range(SCHEDULES)]


@pytest.mark.parametrize("faults", [False, True], ids=["calm", "faults"])
@ROUTES
def test_no_two_workers_writes_mix(deployment: Deployment, faults: bool):
    seen = schedules(deployment, faults=faults)
    assert sum(one.twins for one in seen) > 0
    assert sum(one.refused for one in seen) > 0


def schedules_of_files(deployment: Deployment) -> list[Writers]:
    return [restored_files(seed, deployment, Nobody()) for seed in range(2 * SCHEDULES)]


@ROUTES
def test_no_two_writers_of_a_batch_mix(deployment: Deployment):
    seen = schedules_of_files(deployment)
    assert sum(one.twins for one in seen) > 0
    assert sum(one.refused for one in seen) > 0
