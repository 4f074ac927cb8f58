"""Tests the list of what a campaign must have judged before it may report that nothing broke."""

import pytest

from simulator.campaign.checks.letting_go import RUNS_EXCUSED, RUNS_JUDGED
from simulator.campaign.runs.fault_rates import FULL
from simulator.campaign.runs.tally import SCHEDULES_OF_LEAST, SHARES_OF_LEAST, CampaignTally


@pytest.mark.parametrize(
    ("schedules", "judged", "excused", "idle"),
    [
        (SCHEDULES_OF_LEAST, 33, 67, True),
        (SCHEDULES_OF_LEAST, 34, 66, False),
        (SCHEDULES_OF_LEAST, 0, SHARES_OF_LEAST, True),
        (SCHEDULES_OF_LEAST, 0, SHARES_OF_LEAST - 1, False),
        (SCHEDULES_OF_LEAST, 0, 0, False),
        (SCHEDULES_OF_LEAST - 1, 0, SHARES_OF_LEAST, False),
    ],
)
def test_a_check_that_excuses_most_runs_is_named(schedules: int, judged: int, excused: int, idle: bool):
    """A check is reported as idle if it judged less than a third of the runs, once there are enough
    schedules and runs.
    """
    tally = CampaignTally(schedules=schedules)
    tally.judged.update({RUNS_JUDGED: judged, RUNS_EXCUSED: excused})
    assert (RUNS_JUDGED in tally.idle(None)) == idle


def test_a_campaign_of_its_own_names_what_it_has_not_judged():
    assert len(CampaignTally().idle(FULL)) == 1
