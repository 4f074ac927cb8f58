"""Webhooks under all faults: tenants have endpoints, and receivers misbehave in every way of fault 27.

A share of all other schedules has webhooks, too: see test_campaign.py. `python -m simulator --faults webhooks` runs
more schedules of the same kind.
"""

import pytest

from simulator.campaign.runs.fault_rates import WEBHOOKS
from simulator.campaign.runs.pool import run_block
from simulator.campaign.runs.run import run_seed
from simulator.campaign.runs.tally import CampaignTally
from simulator.engine.fault_kinds import RECEIVER

SCHEDULES = 60


@pytest.fixture(scope="module")
def seeds() -> CampaignTally:
    return run_block(0, SCHEDULES, WEBHOOKS)[0]


def test_each_end_is_told_and_nothing_else(seeds: CampaignTally):
    """No end is lost, no false end is sent, and no message goes to a deleted endpoint.

    No delivery is sent by two senders at once, or by a sender whose time for it is over.
    """
    assert seeds.failures == []
    assert seeds.schedules == SCHEDULES
    assert seeds.accepted >= 3 * SCHEDULES


def test_receivers_misbehave(seeds: CampaignTally):
    """Receivers misbehave in each way; the rarest way occurs in some seed."""
    assert {name for name in RECEIVER if not seeds.fired[name]} <= {"receiver_gone"}
    assert sum(seeds.fired[name] for name in RECEIVER) >= SCHEDULES / 2


def test_a_schedule_without_endpoints_offers_nothing():
    """Seeds from before webhooks offer no such fault, and make no draw for one."""
    assert not any(run_seed(seed).fired[name] for seed in range(5) for name in RECEIVER)
