"""Calls fail for a while, and tasks survive and delay no others. `python -m simulator.brownouts`: more."""

from dataclasses import replace
from typing import Any

import pytest

from simulator.campaign.load.brownouts import BrownOut, BrownOutResult, apart, play
from simulator.campaign.load.neighbours import LATE_SECONDS_MOST, Neighbours, lateness
from src.kernel.calls import model_health
from src.kernel.calls.model_health import ModelHealth, ModelHealths, Patience
from src.kernel.domain import limits
from src.kernel.store.work import WorkStore


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


def wrong(brown_out: BrownOut) -> list[str]:
    return play(brown_out).faults()


@pytest.mark.campaign
def test_without_the_others_share_a_brown_out_fails_tasks(monkeypatch: pytest.MonkeyPatch):
    """If a failure counted after a single success of another task, as in earlier code, sound chunks would fail."""
    monkeypatch.setattr(limits, "OTHERS_SHARE", 0.0)
    assert "tasks ended as they should not" in " ".join(wrong(BrownOut(0.8, 1_200)))


@pytest.mark.campaign
def test_without_the_pauses_a_chunk_ends_within_the_brown_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "FAILURES_COUNTED_MOST", 3)
    monkeypatch.setattr(model_health, "pause_seconds", lambda counted, chance: 0.5)
    assert "tasks ended as they should not" in " ".join(wrong(BrownOut(0.3, 600)))


@pytest.mark.campaign
def test_without_shared_calls_a_lone_chunk_waits_for_an_hour(monkeypatch: pytest.MonkeyPatch):
    async def nothing(*_arguments: Any) -> None:
        return None

    monkeypatch.setattr(ModelHealth, "is_mixed", lambda health, now: False)
    monkeypatch.setattr(WorkStore, "shared_calls", nothing)
    assert wrong(BrownOut(0.3, 60, "objects", 20)) != []


@pytest.mark.campaign
def test_without_short_pauses_in_a_brown_out_runs_stay_narrow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "BROWN_OUT_SECONDS", -1.0)
    assert "narrow after its end" in wrong(BrownOut(0.8, 600, "objects"))


def test_without_width_that_follows_the_share_more_calls_are_out(monkeypatch: pytest.MonkeyPatch):
    """While four in five calls fail, a run that followed the share of failures would make at most two calls at once."""
    usual = ModelHealth.width
    health, now = ModelHealth(), 100.0
    for chunk in range(10):
        (health.succeeded(chunk, now) if chunk < 2 else health.failed(chunk, 99, now, 0.0, 0.5))
    assert usual(health, 6, now) == 2
    assert [usual(health, 6, now + seconds) for seconds in (2, 4, 6, 8)] == [3, 4, 5, 6]
    assert health.widens_at(2, 6, now) == pytest.approx(now + 10 * (2.01 / 6 - 0.2))


@pytest.mark.campaign
def test_without_a_health_of_its_own_a_tenant_waits_for_another(monkeypatch: pytest.MonkeyPatch):
    """If an isolate keeps one record of a model for all tenants, a task waits because of another tenant's failures."""
    usual = ModelHealths.of
    monkeypatch.setattr(ModelHealths, "of", lambda health, tenant, model: usual(health, "", model))
    monkeypatch.setattr(model_health.Answers, "note", lambda answers, at: None)
    assert max(lateness(Neighbours(100, "queue", isolates=1, come_at=(5.0,)))) > LATE_SECONDS_MOST


def test_patience_runs_on_while_others_succeed():
    health = ModelHealth()
    patience = Patience(health, 600, now=0.0)
    for at in range(0, 700, 10):
        patience.failed(1, at, at + 1, None, 0.5)
        health.succeeded(2, at + 2)
        assert not patience.narrow(at + 3)
    assert patience.over(700)


def test_what_is_asked_of_a_brown_out():
    """The report names wrong ends, too many calls, unfinished poisoned tasks, and too few calls at once."""
    brown_out = BrownOut(0.5, 60)
    good = BrownOutResult(brown_out=brown_out, tasks=9, poisoned=1, lost=(), calls=150, needed=100, late=910, wide=10)
    assert good.faults() == []
    assert replace(good, lost=("t1",)).faults() == ["1 tasks ended as they should not"]
    assert replace(good, calls=151).faults() == ["too many calls"]
    assert replace(good, late=910.1).faults() == ["poisoned tasks go on"]
    assert replace(good, wide=10.1).faults() == ["narrow after its end"]
