"""Sets the database back in time under live workers of the whole Worker: writes of two workers must not mix."""

import pytest

from simulator.campaign.runs.restores import Writers, restored
from simulator.campaign.subject.patches import patched
from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from src.store.d1.statement import statement
from src.store.sql import fragments, work
from tests.simulator.campaign.test_walls import Nobody
from tests.support.tiers import sized

ROUTES = pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=["queue", "objects", "direct"])
SCHEDULES = sized(quick=6, test=6, campaign=12)


def schedules(deployment: Deployment, *, faults: bool = False) -> list[Writers]:
    """Run some simulated schedules with a restored database on one route."""
    return [restored(seed, deployment, Nobody(), faults=faults) for seed in range(SCHEDULES)]


@pytest.mark.parametrize("faults", [False, True], ids=["calm", "faults"])
@ROUTES
def test_no_two_workers_writes_mix(deployment: Deployment, faults: bool):
    """If two live workers have the same fence after a restore, the database refuses the writes of one of them."""
    seen = schedules(deployment, faults=faults)
    assert sum(one.twins for one in seen) > 0
    assert sum(one.refused for one in seen) > 0


def test_without_the_claims_name_they_mix():
    """If writes checked only the fence, and not the name of the claim, the writes of two workers would mix."""
    known = fragments.UNDER_CLAIM
    unnamed = [
        (work, name, statement(getattr(work, name).text.replace(known, "fence = :fence AND :holder = :holder")))
        for name in UNDER_CLAIM
    ]
    with patched(unnamed), pytest.raises(InvariantBroken, match="two claims write under fence"):
        schedules(TOP)
