"""What a tenant's tasks learn from one another about a model: pauses, and how many calls they may have in flight."""

import pytest

from src.kernel.calls.model_health import ModelHealth, Patience
from src.kernel.domain import limits

HOUR = 3_600.0
USUAL = 6


def task_of(health: ModelHealth) -> Patience:
    return Patience(health, HOUR, now=0.0)


@pytest.mark.parametrize("has_failed", [False, True], ids=["newcomer", "waiting"])
def test_a_pause_that_the_provider_asks_for_holds_for_all_tasks_of_the_tenant(*, has_failed: bool):
    health = ModelHealth()
    one, other = task_of(health), task_of(health)
    if has_failed:
        other.failed(8, -1.0, -0.5, None, 0.0)
    one.failed(7, -1.0, 0.0, 121.0, 0.0)
    assert other.opens_at(1.0, None) == 121


def failing() -> ModelHealth:
    """Return what is known after ten chunks failed at time 0, and the model answers others since."""
    health = ModelHealth()
    for chunk in range(limits.OTHERS_MOST):
        health.failed(chunk, -1.0, 0.0, 0.0, 0.0)
    return health


def test_the_width_grows_back_by_time_alone():
    health = failing()
    assert [health.width(USUAL, at) for at in (0.0, 5.0, limits.WIDEN_SECONDS)] == [1, 3, USUAL]


@pytest.mark.parametrize("out", range(1, USUAL))
def test_a_run_wakes_when_the_width_has_grown(out: int):
    health = failing()
    at = health.widens_at(out, USUAL, 0.0)
    assert health.width(USUAL, at) == out + 1
    assert health.width(USUAL, at - 0.1) == out
