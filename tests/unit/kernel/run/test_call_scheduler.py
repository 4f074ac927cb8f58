"""How many calls of a run may start, when one more may, and for how long a task that must wait is released."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.task import Route
from src.kernel.run.call_scheduler import CallScheduler


def scheduler(route: Route = Route.QUEUE, *, affordable: int = 9, away: bool = False, **ledger: Any) -> CallScheduler:
    """Make the scheduler of a later run whose model lets two calls at a time through, and a third one in 7 s."""
    patience = SimpleNamespace(
        narrow=lambda now: False,
        width=lambda usual, now: 2,
        widens_at=lambda out, usual, now: now + 7,
        away=lambda now: away,
        failing_for=lambda now: 40.0,
    )
    found = {"in_flight": 0, "ready": 4, "ended": 0, "sent": 0} | ledger
    found |= {"patience": patience, "narrowed": lambda most: most, "startable": lambda now, most: list(range(most))}
    context: Any = SimpleNamespace(
        terms=SimpleNamespace(forbids_start=lambda now: False, calls_left=lambda sent: math.inf),
        allowance=SimpleNamespace(affordable_calls=lambda now, wanted, *_: min(affordable, wanted)),
        caller=SimpleNamespace(groups_most=1, group_size=6),
        settings=SimpleNamespace(concurrency=6, objects_at_work_most=None),
        route=route,
        claim=SimpleNamespace(fence=2),
    )
    calls: Any = SimpleNamespace(free=6, groups_out=0)
    made: Any = SimpleNamespace(**found)
    return CallScheduler(context, calls, made)


@pytest.mark.parametrize(
    ("ledger", "at"),
    [({"in_flight": 2}, 107.0), ({"in_flight": 1}, math.inf), ({"in_flight": 2, "ready": 0}, math.inf)],
)
def test_a_call_waits_until_the_model_lets_more_through(ledger: dict[str, Any], at: float) -> None:
    assert scheduler(**ledger).widens_at(100.0) == at


@pytest.mark.parametrize(
    ("route", "ended", "starting"), [(Route.QUEUE, 3, 0), (Route.QUEUE, 0, 1), (Route.DIRECT, 3, 1)]
)
def test_the_next_run_makes_a_wave_that_this_one_can_afford_in_part(route: Route, ended: int, starting: int) -> None:
    """Except a run that has made no call yet, and the direct route, which cron continues once a minute."""
    assert len(scheduler(route, affordable=1, ended=ended).starting(100.0)) == starting


@pytest.mark.parametrize(
    ("away", "ended", "seconds"),
    [(True, 0, min(40.0, limits.QUEUE_PROBE_WAIT_SECONDS_MOST)), (False, 0, 5), (True, 1, 5)],
)
def test_a_release_grows_with_an_outage(away: bool, ended: int, seconds: float) -> None:
    assert scheduler(away=away, ended=ended).returns_in(5, 100.0) == seconds
