"""What a retry of a failed task leaves of its former failures."""

from src.kernel.domain.ids import TaskKey
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Failure
from src.kernel.store.admission import Accepted
from src.kernel.store.claims import CallKey, Fail, FailedCall, Tries
from tests.support.store_bench import FAILURE, LEASE_MS, RETENTION_MS, StoreBench, outputs

GAP = Failure.of("model_refused", "400", False)


def fail_with_gap(bench: StoreBench, name: str) -> None:
    bench.insert(name, structure=Structure(gaps=True))
    claim = bench.claim(name)
    gap = FailedCall(CallKey(0, 1), Tries(1, 1), True, GAP, gap_chars=1)
    assert bench.step(claim, Fail(RETENTION_MS, FAILURE), outputs=outputs(0), completed=1, failures=[gap], failed=1)
    assert bench.row(name)["failed"] == 1


def test_a_retried_task_has_no_failed_chunk_if_its_gaps_open_again(bench: StoreBench) -> None:
    fail_with_gap(bench, "one")
    fail_with_gap(bench, "other")
    assert bench.run(bench.store.retry(TaskKey("one"), LEASE_MS)) == Accepted()
    assert bench.row("one")["failed"] == 0
    assert bench.row("other")["failed"] == 1
