"""Calls fail for a while, and tasks survive and delay no others. `python -m simulator.brownouts`: more."""

import pytest

from simulator.campaign.load.brownouts import BrownOut, apart, play
from simulator.campaign.load.neighbours import LATE_SECONDS_MOST, Neighbours, lateness
from src.kernel.calls.model_health import ModelHealth, Patience


@pytest.mark.parametrize("route", ["queue", "objects", "direct"])
@pytest.mark.parametrize("share", [0.1, pytest.param(0.3, marks=pytest.mark.campaign), 0.5, 0.8])
def test_a_minute_of_it_fails_no_task(share: float, route: str):
    outcome = play(BrownOut(share, 60, route, 20, apart(route)))
    assert outcome.poisoned > 0
    assert outcome.faults() == [], outcome


@pytest.mark.parametrize(
    "route",
    [pytest.param("queue", marks=pytest.mark.campaign), "objects", pytest.param("direct", marks=pytest.mark.campaign)],
)
def test_ten_minutes_of_it_fail_no_task(route: str):
    assert play(BrownOut(0.5, 600, route, 20, apart(route))).faults() == []


@pytest.mark.parametrize(
    "neighbours",
    [
        pytest.param(Neighbours(400, come_at=(5.0,)), marks=pytest.mark.campaign),
        # the queue has ten consumers, as under `make dev`
        pytest.param(Neighbours(400, come_at=(5.0, 60.0), consumers=10), marks=pytest.mark.campaign),
        Neighbours(100, come_at=(5.0, 60.0), consumers=10),
        Neighbours(100, "objects", come_at=(5.0, 60.0)),
        Neighbours(100, "direct"),
        Neighbours(2, "objects", objects_at_work=2),
        Neighbours(20, "objects", objects_at_work=2),
    ],
)
def test_texts_that_always_fail_are_their_tenants_trouble(neighbours: Neighbours):
    assert max(lateness(neighbours)) <= LATE_SECONDS_MOST


def test_a_long_task_beside_them_is_as_wide_as_ever():
    assert max(lateness(Neighbours(100, "queue", chunks=24, isolates=1, come_at=(5.0,)))) <= LATE_SECONDS_MOST


def test_the_width_follows_the_share_of_failures():
    health, now = ModelHealth(), 100.0
    for chunk in range(10):
        (health.succeeded(chunk, now) if chunk < 2 else health.failed(chunk, 99, now, 0.0, 0.5))
    assert health.width(6, now) == 2
    assert [health.width(6, now + seconds) for seconds in (2, 4, 6, 8)] == [3, 4, 5, 6]
    assert health.widens_at(2, 6, now) == pytest.approx(now + 10 * (2.01 / 6 - 0.2))


def test_patience_runs_on_while_others_succeed():
    health = ModelHealth()
    patience = Patience(health, 600, now=0.0)
    for at in range(0, 700, 10):
        patience.failed(1, at, at + 1, None, 0.5)
        health.succeeded(2, at + 2)
        assert not patience.narrow(at + 3)
    assert patience.over(700)
