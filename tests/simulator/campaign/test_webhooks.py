"""Webhooks under all faults, with receivers of fault 27. `python -m simulator --faults webhooks`: more."""

import pytest

from simulator.campaign.checks import undelayed, webhooks
from simulator.campaign.runs.fault_rates import HANGING, WEBHOOKS
from simulator.campaign.runs.pool import run_block
from simulator.campaign.runs.run import run_seed
from simulator.campaign.runs.tally import CampaignTally
from simulator.engine.fault_kinds import RECEIVER
from tests.support.tiers import sized

SCHEDULES = sized(quick=60, test=60, campaign=120)
HANGING_SCHEDULES = sized(quick=4, test=8, campaign=60)


@pytest.fixture(scope="module")
def seeds() -> CampaignTally:
    return run_block(0, SCHEDULES, WEBHOOKS)[0]


def test_each_end_is_told_and_nothing_else(seeds: CampaignTally):
    assert seeds.failures == []
    assert seeds.schedules == SCHEDULES
    assert seeds.accepted >= 3 * SCHEDULES


def test_receivers_misbehave(seeds: CampaignTally):
    assert {name for name in RECEIVER if not seeds.fired[name]} <= {"receiver_gone"}
    assert sum(seeds.fired[name] for name in RECEIVER) >= SCHEDULES / 2


def test_receivers_that_hang_delay_no_other_tenant():
    seeds = run_block(0, HANGING_SCHEDULES, HANGING)[0]
    assert seeds.failures == []
    assert seeds.fired["receivers_hang"] >= 10 * HANGING_SCHEDULES
    for judged in (undelayed.STARTS_JUDGED, webhooks.SHARES_JUDGED, webhooks.TRIES_JUDGED):
        assert seeds.judging[judged] >= HANGING_SCHEDULES / 2
    assert seeds.judged["deliveries delivered"] >= 400 * HANGING_SCHEDULES


def test_a_schedule_without_endpoints_offers_nothing():
    fired = [run_seed(seed).fired for seed in range(5)]
    assert not any(one[name] for one in fired for name in RECEIVER)
