"""The writes for a task whose text is in a file: where the text is cut, and a retry while the file is readable."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.features.texts.file_cuts import CutAt, CutPortion
from src.features.texts.store import Cuts, all_cut, cut_on
from src.kernel.domain.task import Route
from src.kernel.store.admission import Accepted
from src.kernel.store.claims import Also, Claim, Continue
from tests.conformance.cases.steps import progress
from tests.support.store_bench import RETENTION_MS, START_MS
from tests.support.text_bench import TEXT_TASK, TextBench

LEASE_MS = 60_000
# Two slices of a text of 30 bytes, with three chunks of 10 characters.
FIRST = CutPortion(CutAt(10, 10, 1), ends=(10,), byte_ends=(10,), start=0, text="x" * 10)
LAST = CutPortion(CutAt(30, 30, 3), ends=(20, 30), byte_ends=(20, 30), start=None, text="x" * 20)


@pytest.fixture
def bench() -> Iterator[TextBench]:
    made = TextBench()
    made.begin_text(b"x" * 30, chunk_chars=10)
    yield made
    made.close()


def claimed(bench: TextBench, holder: str) -> Claim:
    claim = bench.do(bench.store().claim(TEXT_TASK, holder=holder, host="", route=Route.QUEUE, lease_ms=LEASE_MS))
    assert isinstance(claim, Claim)
    return claim


def cut(bench: TextBench, claim: Claim, step: int, found: CutPortion) -> bool:
    def writes(under: Any) -> Any:
        return cut_on(under, 10, LAST) + all_cut(under) if found is LAST else cut_on(under, 0, FIRST)

    made = progress(claim, step=claim.step + step)
    return bool(bench.do(bench.store().step(claim, made, Continue(LEASE_MS), also=Also(writes))))


def test_a_worker_whose_claim_is_over_takes_no_cut_from_the_next(bench: TextBench) -> None:
    first = claimed(bench, "first")
    assert cut(bench, first, 1, FIRST)
    bench.pass_seconds(LEASE_MS / 1000 + 600)
    second = claimed(bench, "second")
    assert not cut(bench, first, 2, LAST)
    assert bench.do(bench.texts.cut_at(TEXT_TASK))[0] == FIRST.at
    assert cut(bench, second, 1, LAST)
    assert bench.do(bench.texts.cuts(TEXT_TASK)) == Cuts((10, 20, 30), (0, 10, 20, 30), 0)
    assert bench.task().total == 3


def test_a_task_is_retried_until_its_file_expires(bench: TextBench) -> None:
    bench.database.rows("UPDATE files SET expires_at = ?1, due_at = ?1 RETURNING id", START_MS + 60_000)
    bench.pass_seconds(59.999)
    bench.do(bench.store().cancel(TEXT_TASK, RETENTION_MS))
    assert bench.do(bench.store().retry(TEXT_TASK, 1)) == Accepted()
    bench.do(bench.store().cancel(TEXT_TASK, RETENTION_MS))
    bench.pass_seconds(0.001)
    assert bench.do(bench.store().retry(TEXT_TASK, 1)) is None
