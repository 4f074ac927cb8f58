"""Sets the database back in time under live workers of the whole Worker: writes of two workers must not mix."""

import pytest

from simulator.campaign.runs.restores import BY_WRITERS, Writers, restored, restored_files
from simulator.campaign.subject.patches import patched
from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from src.features.batches.store import batch_files
from src.kernel.store import fragments, work_statements
from src.kernel.store.d1 import statement
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


def test_without_the_claims_name_they_mix():
    """If writes checked only the fence, and not the name of the claim, the writes of two workers would mix."""
    known = fragments.UNDER_CLAIM
    unnamed = [
        (
            work_statements,
            name,
            statement(getattr(work_statements, name).text.replace(known, "fence = :fence AND :holder = :holder")),
        )
        for name in UNDER_CLAIM
    ]
    with patched(unnamed), pytest.raises(InvariantBroken, match="two claims write under fence"):
        schedules(TOP)


def schedules_of_files(deployment: Deployment) -> list[Writers]:
    return [restored_files(seed, deployment, Nobody()) for seed in range(2 * SCHEDULES)]


@ROUTES
def test_no_two_writers_of_a_batch_mix(deployment: Deployment):
    seen = schedules_of_files(deployment)
    assert sum(one.twins for one in seen) > 0
    assert sum(one.refused for one in seen) > 0


def test_without_the_writers_name_they_mix():
    """If the writes of a batch's files checked only the fence, and not the writer's name, two writers would mix."""
    unnamed = []
    for name in BY_WRITERS:
        known = getattr(batch_files, name)
        made = [
            statement(one.text.replace(batch_files.BY_WRITER, "writer_fence = :writer_fence AND :writer = :writer"))
            for one in (known if isinstance(known, tuple) else (known,))
        ]
        unnamed.append((batch_files, name, tuple(made) if isinstance(known, tuple) else made[0]))
    with patched(unnamed), pytest.raises(InvariantBroken, match="two claims write under fence"):
        schedules_of_files(TOP)
