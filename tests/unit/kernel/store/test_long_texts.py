"""What runs read and keep in memory for tasks of thousands of chunks."""

import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.task import Reduce
from tests.support.store_bench import LEASE_MS
from tests.support.worker_bench import WorkerBench
from tests.unit.kernel.store.test_window import Counted, task_of, to_the_end

pytestmark = pytest.mark.slow


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerBench]:
    monkeypatch.setattr("tests.support.worker_bench.SqliteD1", Counted)
    made = WorkerBench()
    made.settings = replace(made.settings, plan="free")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("chunks", "characters", "reduce"),
    [
        (5_000, 370, Reduce.CONCAT),
        (2_500, 370, Reduce.MERGE),
        pytest.param(5_000, 100, Reduce.CONCAT, marks=pytest.mark.campaign),
        pytest.param(5_000, 370, Reduce.MERGE, marks=pytest.mark.campaign),
    ],
)
def test_the_input_is_read_once(free: WorkerBench, chunks: int, characters: int, reduce: Reduce):
    text = ("w" * (characters - 1) + " ") * chunks
    free.do(free.store.insert(task_of(text, characters, reduce=reduce), LEASE_MS))
    free.model.act = lambda call, number: "y" * 300
    assert isinstance(free.database, Counted)
    free.database.bytes_read = 0
    claims = to_the_end(free)
    assert claims > 100
    assert free.database.bytes_read <= 6 * len(text)
    assert free.database.largest <= 3 * limits.WINDOW_CHARS_MOST


def test_a_merge_of_20_mb_holds_little(free: WorkerBench):
    text = ("w" * 39 + " ") * 1_250
    free.settings = replace(free.settings, plan="paid")
    free.do(free.store.insert(replace(task_of(text, 40, reduce=Reduce.MERGE), merge_chars=40_000), LEASE_MS))
    rng = random.Random(1)
    words = " ".join(rng.randbytes(4).hex() for _ in range(20_000))

    def act(call: Any, number: int) -> str:
        # The list of recorded calls would keep the texts in memory.
        free.model.calls[-12:] = [(0.0, ModelCall("", "", ""))] * min(12, number)
        start = 9 * rng.randrange(20_000 - 1_780)
        return words[start : start + 9 * 1_780 - 1]

    free.model.act = act
    tracemalloc.start()
    to_the_end(free)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(free.model.calls) == 1_250 + 625 + 312 + 156 + 78 + 39 + 19 + 9 + 4 + 2 + 1
    assert peak < 57_000_000, f"{peak:,} bytes"
