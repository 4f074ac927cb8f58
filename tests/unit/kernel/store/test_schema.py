"""The schema's CHECKs accept and refuse what they must. They cannot be altered later (decision 0047)."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.domain.ids import TaskKey
from src.kernel.domain.keys import Scope
from src.kernel.domain.meter import Meter
from src.kernel.store.claims import CallKey, Finish
from src.kernel.store.d1 import Database
from src.kernel.store.keys import KeyStore
from tests.support.store_bench import FAILURE, RETENTION_MS, StoreBench, outputs

TASK = TaskKey("task")
CHUNKS = 4
ENDED: dict[str, Any] = {"status": "completed", "finished_at": 1}


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    made.insert(chunks=CHUNKS)
    yield made
    made.database.close()


def give(bench: StoreBench, **columns: Any) -> None:
    assignments = ", ".join(f"{name} = ?" for name in columns)
    bench.database.rows(f"UPDATE tasks SET {assignments} WHERE id = '{TASK}'", *columns.values())  # noqa: S608


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"total": None}, id="its text or file is still being cut"),
        pytest.param({"total": 0}, id="its file has no lines"),
        pytest.param({**ENDED, "completed": 3, "failed": 1}, id="it has completed with a gap"),
        pytest.param({**ENDED, "completed": 0, "failed": 4}, id="each line of a batch has failed"),
        pytest.param({"calls_minimum": 1}, id="most outputs come from another task"),
        *(
            pytest.param({"wait_reason": reason}, id=f"it waits: {reason}")
            for reason in ("model_away", "rate_limited", "backoff", "database", "quota", "paced", "scheduled")
        ),
    ],
)
def test_a_task_may_be_so(bench: StoreBench, columns: dict[str, Any]) -> None:
    """The schema accepts the values of a task that sections 11 to 14 of the contract need."""
    give(bench, **columns)
    assert columns.items() <= bench.row(TASK).items()


def test_older_code_cannot_claim_a_structured_task(bench: StoreBench) -> None:
    give(bench, structured="{}")
    claim = bench.claim()
    assert bench.row(TASK)["structured_fence"] == claim.fence
    with pytest.raises(sqlite3.IntegrityError):
        give(bench, fence=claim.fence + 1, holder="older")  # A takeover is refused.
    give(bench, status="failed", finished_at=1, lease_until=None, error_code="deadline_exceeded")  # The end is allowed.
    give(bench, status="pending", finished_at=None, fence=claim.fence + 1, error_code=None)  # A retry is allowed.
    with pytest.raises(sqlite3.IntegrityError):
        give(bench, status="processing", fence=claim.fence + 2, lease_until=1)  # a claim
    with pytest.raises(sqlite3.IntegrityError):
        give(bench, status="failed", fence=claim.fence + 2, finished_at=1, error_code="dead_lettered")
    bench.pass_ms(1)
    assert bench.claim().fence == claim.fence + 2


def test_a_structured_task_is_left_to_the_sweep_by_dead_letters(bench: StoreBench) -> None:
    """A dead letter does not fail a structured task, whose message may have failed only because older code got it."""
    give(bench, structured="{}")
    bench.pass_ms(60_000)
    assert not bench.run(bench.store.dead_letter(TASK, FAILURE, RETENTION_MS))
    give(bench, structured=None)
    assert bench.run(bench.store.dead_letter(TASK, FAILURE, RETENTION_MS))


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({**ENDED, "completed": 3}, id="completed, and nothing is known of a chunk"),
        pytest.param({**ENDED, "total": None}, id="completed, and not cut yet"),
        pytest.param({**ENDED, "total": 0}, id="completed without a chunk"),
        pytest.param({"completed": CHUNKS + 1}, id="more outputs than chunks"),
        pytest.param({"failed": CHUNKS + 1}, id="more failures than chunks"),
        pytest.param({"total": None, "completed": -1}, id="less than none"),
        pytest.param({"wait_reason": "mood"}, id="a reason that is none"),
        pytest.param({"calls_minimum": -1}, id="less than no call"),
    ],
)
def test_a_task_may_not_be_so(bench: StoreBench, columns: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        give(bench, **columns)


def test_outputs_of_another_task_lie_before_the_first_write(bench: StoreBench) -> None:
    donor = TaskKey("donor")
    bench.insert(donor, chunks=CHUNKS)
    assert bench.step(bench.claim(donor), outputs=outputs(0, 1), completed=2)
    bench.database.rows(
        """INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
        SELECT ?, level, part, 0, 0, 0, places, sizes, body FROM segments WHERE task_id = ?""",
        *(TASK, donor),
    )
    claim = bench.claim()
    assert claim.outputs == {CallKey(0, 0), CallKey(0, 1)}
    assert bench.step(claim, Finish(RETENTION_MS), outputs=outputs(2, 3), completed=4)
    task = bench.run(bench.store.task(TASK))
    assert task is not None
    assert task.result == "output 0\n\noutput 1\n\noutput 2\n\noutput 3"


def test_a_line_that_was_never_called_may_have_failed(bench: StoreBench) -> None:
    """The schema accepts a chunk that has failed without a call, because its batch's time was over."""
    bench.database.rows(
        "INSERT INTO failures (task_id, level, idx, attempts, calls, final, code, message, retryable) "
        "VALUES (?, 0, 0, 0, 0, 1, 'batch_expired', 'the window is over', 0)",
        TASK,
    )
    (failure,) = bench.run(bench.store.chunks(TASK)) or []
    assert (failure.attempts, failure.output) == (0, None)


@pytest.mark.parametrize(
    ("scopes", "known"),
    [('["read", "write", "admin", "operator"]', set(Scope)), ('["read", "of-later-code"]', {Scope.READ})],
)
def test_a_key_may_have_any_scopes(bench: StoreBench, scopes: str, known: set[Scope]) -> None:
    """The schema accepts API keys with more than three scopes, and with a scope that only later code knows."""
    insert = "INSERT INTO api_keys (id, tenant, digest, scopes, created_at) VALUES (?, 'local', ?, ?, 1)"
    bench.database.rows(insert, "0" * 16, "0" * 64, scopes)
    (key,) = bench.run(KeyStore(Database(bench.database, Meter())).list("local"))
    assert key.scopes == known
    with pytest.raises(sqlite3.IntegrityError):
        bench.database.rows(insert, "1" * 16, "0" * 64, "[]")
