"""Lets many workers use one database that stalls: all must finish their tasks with few writes while they wait."""

import pytest

from simulator.campaign.load import overload
from simulator.campaign.load.overload import Load, play

WORKERS = 60
# The seconds that each call to D1 takes. If all workers wait in line, the wait is longer than a call may usually take
# to start.
SLOW = 0.05


@pytest.mark.parametrize("route", overload.ROUTES)
def test_a_line_that_a_stall_leaves_behind_gets_shorter(route: str):
    calm = play(Load(WORKERS, SLOW, route=route))
    assert calm.faults(calm) == []
    for stall in (5.0, 30.0, 90.0):
        assert play(Load(WORKERS, SLOW, stall, route)).faults(calm) == []


def test_250_workers_and_a_stall():
    """They end in time, although calls of 10 ms wait 2.5 s: the time to start follows the latency."""
    calm = play(Load(250, 0.01))
    assert [*calm.faults(calm), *play(Load(250, 0.01, 5.0)).faults(calm)] == []


def test_a_database_that_is_quick_enough_costs_nothing():
    outcome = play(Load(20, 0.01))
    assert outcome.completed == 20
    assert outcome.writes <= outcome.calls + 2 * 20
    assert outcome.spare <= 2
