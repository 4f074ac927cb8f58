"""After a restart of `make dev` unfinished tasks continue at once."""

from collections.abc import Iterator

import pytest

from local.node import ROOT
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Status
from src.kernel.store.claims import CallKey, Claim
from tests.support.store_bench import LEASE_MS, StoreBench, outputs

STATEMENT = (ROOT / "local" / "runtime" / "expire_leases.sql").read_text()
TASK = TaskKey("task")


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


def restart(bench: StoreBench) -> None:
    bench.database.rows(STATEMENT.replace("?1", str(bench.pass_ms(1_000))))


def claim_keys(*positions: int) -> frozenset[CallKey]:
    return frozenset(CallKey(0, position) for position in positions)


def begun(bench: StoreBench) -> Claim:
    bench.insert()
    claim = bench.claim()
    assert bench.step(claim, in_flight=[(0, 0), (0, 1)])
    return claim


def test_a_task_of_a_former_start_goes_on_at_once(bench: StoreBench):
    """A restart of `make dev` ends all leases, so the sweep finds the tasks."""
    claim = begun(bench)
    restart(bench)
    assert bench.run(bench.store.due(10)).idle == [TASK]
    again = bench.claim()
    assert (again.fence, again.doubted, again.stalls) == (claim.fence + 1, claim_keys(0, 1), 0)
    assert not bench.step(claim, outputs=outputs(0), completed=1)


def test_a_task_says_that_its_worker_is_gone_though_calls_are_announced(bench: StoreBench):
    begun(bench)
    before = bench.run(bench.store.task(TASK))
    restart(bench)
    after = bench.run(bench.store.task(TASK))
    assert before is not None
    assert after is not None
    assert (before.waiting_for, len(before.calls_out)) == (None, 2)
    assert after.waiting_for is not None
    assert after.waiting_for.reason == "lease"
    assert (after.calls_out, len(after.calls_in_doubt), after.usage.in_doubt) == ((), 2, 2)


def test_restarts_are_no_stalls(bench: StoreBench):
    begun(bench)
    for _ in range(10):
        restart(bench)
        assert bench.claim().stalls == 0


def test_workers_of_this_start_keep_their_leases(bench: StoreBench):
    begun_at = bench.time_ms
    claim = begun(bench)
    bench.database.rows(STATEMENT.replace("?1", str(begun_at)))
    assert bench.row(TASK)["lease_until"] == bench.time_ms + LEASE_MS
    assert bench.step(claim)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PROCESSING])
def test_other_tasks_stay_as_they_are(bench: StoreBench, status: Status):
    bench.in_status(status)
    before = bench.row(TASK)
    restart(bench)
    assert bench.row(TASK) == before
