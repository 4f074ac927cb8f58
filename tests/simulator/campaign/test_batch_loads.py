"""Counts what a batch of 20,000 lines uses on each route and plan (docs/costs.md); others go on."""

from dataclasses import asdict

import pytest

from bench import measured
from simulator.campaign.load.batch_neighbours import LATE_SECONDS_MOST, MOMENTS, LateTask, lateness
from simulator.campaign.load.batches import BatchLoad, BatchUse, used
from simulator.platform.invocation_limits import Plan
from src.features.files.blobs.r2 import R2Bucket
from src.kernel.domain import limits

LINES = limits.BATCH_LINES_MOST
GROUPS = -(-LINES // limits.LANE_CALLS)  # A lane makes six calls at a time.


def counters(use: BatchUse) -> dict[str, float]:
    named = asdict(use)
    return {name: named[name] for name in ("database_calls", "rows_written", "object_requests", "get", "subrequests")}


@pytest.mark.parametrize(
    ("route", "plan"),
    [
        ("queue", "paid"),
        pytest.param("objects", "free", marks=pytest.mark.campaign),
        pytest.param("queue", "free", marks=pytest.mark.campaign),
    ],
)
def test_what_20_000_lines_use(route: str, plan: Plan) -> None:
    """It is what docs/costs.md says, a call a line, within each invocation's limits."""
    use = used(BatchLoad(LINES, route, plan, (5.0, 5.0)))
    assert (use.status, use.model_calls, use.refused) == ("completed", LINES, [])
    assert use.subrequests_most <= limits.SUBREQUESTS[plan]
    assert use.statements_most <= limits.STATEMENTS[plan]
    counted = {
        "requests": use.invocations - use.cron_runs + 1,  # the upload
        "rowsWritten": use.rows_written,
        "queueOperations": use.queue_operations,
        "objectRequests": use.object_requests,
        "objectRowsWritten": use.object_rows_written,
        "objectGbSeconds": use.object_gb_seconds,
        "bucketWrites": use.put_list,
        "bucketReads": use.get,
    }
    stated = {name: amount for name, amount in measured.BATCH[route, plan].items() if name != "rowsRead"}
    assert counted == pytest.approx(stated, rel=0.05, abs=2)
    assert use.stored / 1e6 == pytest.approx(measured.BATCH_MB, abs=0.1)
    assert 2 * GROUPS <= use.object_requests <= 2.2 * GROUPS
    assert use.database_calls <= 0.3 * LINES
    assert use.rows_written <= 0.2 * LINES
    assert use.subrequests <= 1.7 * LINES
    assert use.calls["r2.put"] == 4  # of the output; the upload is no invocation of the simulation


@pytest.mark.campaign
@pytest.mark.parametrize("plan", ["free", "paid"])
def test_what_20_000_lines_use_without_objects(plan: Plan) -> None:
    """The direct route has no lanes, so that its calls end one by one, and each takes a write at most."""
    use = used(BatchLoad(LINES, "direct", plan))
    assert (use.status, use.model_calls, use.refused) == ("completed", LINES, [])
    assert (use.object_requests, use.queue_operations) == (0, 0)
    assert use.database_calls <= 0.6 * LINES
    assert use.rows_written <= 1.0 * LINES
    assert use.put_list <= 12
    assert use.get <= 3 * use.invocations


@pytest.mark.parametrize(
    ("route", "plan"),
    [
        ("queue", "free"),
        ("objects", "paid"),
        pytest.param("queue", "paid", marks=pytest.mark.campaign),
        pytest.param("objects", "free", marks=pytest.mark.campaign),
    ],
)
def test_the_use_grows_no_faster_than_the_lines(route: str, plan: Plan) -> None:
    small, large = (counters(used(BatchLoad(lines, route, plan, (0.5, 1.5)))) for lines in (1_000, 2_000))
    assert {name: large[name] / small[name] for name in small if large[name] > 2.1 * small[name] + 5} == {}


@pytest.mark.campaign
def test_uneven_calls_write_more_rows() -> None:
    use = used(BatchLoad(LINES, "queue", "paid", (2.0, 10.0)))
    assert use.rows_written == pytest.approx(measured.BATCH_ROWS_UNEVEN, rel=0.1)


def check(found: list[LateTask]) -> None:
    states = {one.moment: one.state for one in found}
    assert states.keys() == MOMENTS.keys()
    validating = ("accepted", "a quarter is checked", "three quarters are checked")
    assert all(states[moment].checked < 1 for moment in validating), states
    assert states["an object is stored"].is_storing
    assert 0.1 <= states["a tenth is done"].done < 0.5 <= states["a half is done"].done < 1
    assert states["the files are completed"].has_finished
    assert not states["the files are completed"].has_ended
    assert [one for one in found if one.seconds > LATE_SECONDS_MOST] == []


def load_of(lines: int, route: str, plan: Plan = "paid") -> BatchLoad:
    return BatchLoad(lines, route, plan, line_bytes=2_500, answer_chars=2_000, isolates=1)


@pytest.mark.parametrize("route", ["queue", "objects", "direct"])
def test_a_batch_holds_up_no_other_tenant(route: str) -> None:
    check(lateness(load_of(4_000, route)))


@pytest.mark.campaign
@pytest.mark.parametrize("plan", ["free", "paid"])
@pytest.mark.parametrize("route", ["queue", "objects", "direct"])
def test_the_largest_batch_holds_up_no_other_tenant(route: str, plan: Plan) -> None:
    check(lateness(load_of(LINES, route, plan)))


def test_a_file_that_is_checked_at_once_holds_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 100_000_000)
    monkeypatch.setattr(limits, "FILE_READ_BYTES_MOST", 100_000_000)
    monkeypatch.setattr(R2Bucket, "part_bytes", 100_000_000)
    (late,) = lateness(BatchLoad(800, line_bytes=50_000, isolates=1), {"accepted": MOMENTS["accepted"]})
    assert late.seconds > LATE_SECONDS_MOST
