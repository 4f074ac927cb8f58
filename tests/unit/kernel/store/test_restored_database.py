"""A database set back in time: two workers' writes do not mix, and no two ends share an id."""

from collections.abc import Callable
from typing import Any

import pytest

from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Status
from src.kernel.store.claims import Claim, Continue, Fail, Finish, Next, Release
from tests.conformance.cases.steps import progress
from tests.support.store_bench import FAILURE, LEASE_MS, OVERDUE, RETENTION_MS, StoreBench, outputs
from tests.unit.kernel.store.test_late_landing import everything

TASK = TaskKey("task")
STEP = 1_000  # the first step of the worker with the forgotten claim is later than any step of the other worker
FORGOTTEN: dict[str, Any] = {
    "outputs": outputs(0, 1, tag="forgotten"),
    "calls_settled": 90,
    "completed": 2,
    "step": STEP,
    "truncated": 1,
}
STEPS: dict[str, Next] = {
    "goes on": Continue(LEASE_MS),
    "gives back": Release(0, 0),
    "completes": Finish(RETENTION_MS),
    "fails": Fail(RETENTION_MS, FAILURE),
}


def twins(bench: StoreBench) -> tuple[Claim, Claim]:
    """Make two workers of one fence: the database has forgotten the first one's claim."""
    bench.insert()
    before = bench.database.snapshot()
    forgotten = bench.claim()
    assert bench.step(forgotten, in_flight=[(0, 0), (0, 1)])
    bench.pass_ms(1_000)
    bench.database.restore(before)
    known = bench.claim()
    assert known.fence == forgotten.fence
    return forgotten, known


def gives_back(bench: StoreBench, claim: Claim) -> None:
    assert bench.step(claim, Release(0, LEASE_MS), outputs=outputs(0), completed=1, calls_settled=1)


def completes(bench: StoreBench, claim: Claim) -> None:
    assert bench.step(claim, Finish(RETENTION_MS), outputs=outputs(0, 1), completed=2, calls_settled=2)


def fails(bench: StoreBench, claim: Claim) -> None:
    assert bench.step(claim, Fail(RETENTION_MS, FAILURE), outputs=outputs(0), completed=1, failed=1, calls_settled=2)


def goes_on(bench: StoreBench, claim: Claim) -> None:
    assert bench.step(claim, outputs=outputs(0), completed=1, calls_settled=1, in_flight=[(0, 1)])


def is_cancelled(bench: StoreBench, claim: Claim) -> None:
    goes_on(bench, claim)
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS)).changed


@pytest.mark.parametrize("meanwhile", [goes_on, gives_back, completes, fails, is_cancelled])
@pytest.mark.parametrize("name", [*STEPS, "stands down", "settles"])
def test_a_worker_that_the_database_has_forgotten_changes_nothing(
    bench: StoreBench, name: str, meanwhile: Callable[[StoreBench, Claim], None]
):
    forgotten, known = twins(bench)
    meanwhile(bench, known)
    before = everything(bench)
    made = progress(forgotten, **FORGOTTEN)
    if name in STEPS:
        assert not bench.run(bench.store.step(forgotten, made, STEPS[name]))
    elif name == "stands down":
        assert not bench.run(bench.store.stand_down(forgotten, made, Release(0, 0)))
    else:
        assert bench.run(bench.store.settle(forgotten, made, OVERDUE, RETENTION_MS)) is None
    assert not bench.run(bench.store.stands(forgotten))
    assert everything(bench) == before


def test_the_worker_of_the_restored_database_goes_on(bench: StoreBench):
    forgotten, known = twins(bench)
    assert not bench.run(bench.store.step(forgotten, progress(forgotten, **FORGOTTEN), Continue(LEASE_MS)))
    assert bench.run(bench.store.stands(known))
    completes(bench, known)
    task = bench.run(bench.store.task(TASK))
    assert task is not None
    assert (task.status, task.result, task.usage.model_calls) == (Status.COMPLETED, "output 0\n\noutput 1", 2)


def test_a_write_is_known_again_after_its_claims_end(bench: StoreBench):
    bench.insert()
    claim = bench.claim()
    made = progress(claim)
    for _ in range(2):
        assert bench.run(bench.store.step(claim, made, Release(0, 0)))
    claim = bench.claim()
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS)).changed
    made = progress(claim, outputs=outputs(0), completed=1, calls_settled=1)
    assert bench.run(bench.store.settle(claim, made, OVERDUE, RETENTION_MS)) is Status.CANCELLED
    assert bench.row(TASK)["calls_settled"] == 1


def test_a_claim_asked_for_again_after_its_end_is_a_new_one(bench: StoreBench):
    bench.insert()
    claim = bench.claim(holder="one")
    assert bench.step(claim, Release(0, 0))
    assert bench.claim(holder="one").fence == claim.fence + 1


@pytest.mark.parametrize("holder", [None, "the worker"])
def test_a_row_that_names_no_claim_is_worked_on(bench: StoreBench, holder: str | None):
    """If a worker stood down and left no claim's name in the task's row, a write counts by its fence alone."""
    bench.insert()
    claim = bench.claim(holder="the worker")
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS)).changed
    bench.database.rows("UPDATE tasks SET holder = ?", holder)
    made = progress(claim, outputs=outputs(0), completed=1, calls_settled=1)
    assert bench.run(bench.store.settle(claim, made, OVERDUE, RETENTION_MS)) is Status.CANCELLED
