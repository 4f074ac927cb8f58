"""The terms of a task, as one claim sees them: its deadline, and until when it rests if its worker fails."""

import pytest

from src.kernel.domain import limits
from src.kernel.run.waits import Terms
from tests.unit.kernel.run.test_ledger import claim


@pytest.mark.parametrize(("now", "left"), [(10.0, 5.0), (14.5, 0.5), (15.0, 0.0), (15.5, 0.0)])
def test_a_task_rests_after_an_unexpected_error_only_while_its_rest_lasts(now: float, left: float) -> None:
    """The claim is granted at 10 s and asks for a rest of 5 s, so an error from 15 s on causes no rest."""
    terms = Terms(claim(rest_ms=5_000), 9.0, 10.0)
    assert terms.rest_ms(now) == (1000 * (left + limits.EARLY_SECONDS_ALLOWED) if left else 0)


def test_a_task_without_stalls_goes_on_at_once_after_an_unexpected_error() -> None:
    assert Terms(claim(), 10.0, 10.0).rest_ms(10.0) == 0


def test_no_call_starts_when_the_deadline_may_have_passed() -> None:
    """The database wrote the claim between 9 and 10 s, with 5 s left, so the deadline is between 14 and 15 s."""
    terms = Terms(claim(deadline_left_ms=5_000), 9.0, 10.0)
    assert [terms.forbids_start(now) for now in (13.9, 14.0, 14.9)] == [False, True, True]
    assert [terms.starts_by(at, 2.0) for at in (11.0, 13.0)] == [13.0, 14.0]
    assert terms.deadline_latest == 15.0
