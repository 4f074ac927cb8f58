"""Property test of batches: whatever dies, each line is in one of the files once, and no paid answer is lost."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.features.batches.status import BatchStatus
from src.features.batches.work.writer import BatchWriter
from src.kernel.domain import limits
from src.kernel.domain.errors import BlobUnavailable, ModelRefused, ModelUnavailable, StoreError
from src.kernel.domain.task import Route, Status
from src.kernel.work.worker import Host
from tests.support.batch_bench import ERRORS, KEY, OUTPUT, BatchBench, lines
from tests.support.sqlite_d1 import NETWORK_LOST, When
from tests.support.tiers import sized

(RUNS,) = sized(quick=(25,), test=(200,), campaign=(5_000,))
LINES = 30
CONCURRENCY = 6
RETENTION_MS = 10**12
HOSTS = (Host(Route.QUEUE, 600.0), Host(Route.DIRECT, 20.0), Host(Route.DURABLE_OBJECT, 300.0, "object"))
REFUSAL = ModelRefused("400", of_call=True, answer=(400, {"error": "no"}))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make slices, segments and lanes small, so that even short files have several of each."""
    monkeypatch.setattr(limits, "BATCH_SLICE_BYTES", 1_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)
    monkeypatch.setattr(limits, "LANES_FROM_CHUNKS", 20)


class Story:
    """A batch with several workers that die at given points, and a reader that reads the output file while it grows."""

    def __init__(
        self,
        deaths: set[int],
        lost_puts: list[int],
        cancel_at: int | None,
        refused: set[int],
        lost: list[tuple[When, int]],
    ) -> None:
        self.bench = BatchBench(patience_seconds=0, max_attempts=20)
        self.bench.begin(lines(LINES))
        self.bench.points.deaths = {self.bench.points.passed + death for death in deaths}
        self.lost_puts = lost_puts
        self.lost = lost  # One entry a round: which D1 call loses its answer, and if its write lands later.
        self.cancel_at = cancel_at
        self.refused = {str(place) for place in refused}
        self.tries: dict[str, int] = {}
        self.read = b""
        self.rounds_lost = len(lost)
        self.bench.model.act = self.act

    def act(self, text: str, number: int) -> object:
        """Answer a call: refuse some lines, and let every seventh call fail."""
        if number == self.cancel_at:
            self.bench.loop.create_task(self.bench.store().cancel(KEY, RETENTION_MS))
        if text in self.refused:
            return REFUSAL
        self.tries[text] = self.tries.get(text, 0) + 1
        return ModelUnavailable("503") if number % 7 == 0 and self.tries[text] < 3 else None

    async def run(self) -> None:
        """Let two workers at a time work on the batch until the batch has ended."""
        bench = self.bench
        for round_number in range(60):
            if self.lost_puts and bench.bucket is not None:
                bench.bucket.fail(self.lost_puts.pop() % 3, landed=round_number % 2 == 0)
            batch = await bench.rows.batch(KEY)
            assert batch is not None
            if batch.ended_at is not None:
                return
            works: list[Coroutine[Any, Any, object]] = []
            for number in range(2):
                if batch.task.status.terminal:
                    works.append(BatchWriter(bench.worker()).run(KEY))
                else:
                    works.append(bench.worker().run(KEY, HOSTS[(round_number + number) % len(HOSTS)]))
            if self.lost:
                when, passing = self.lost.pop()
                bench.database.fail(NETWORK_LOST, when, 3, passing=passing)
            await asyncio.gather(*(bench.mortal(survived(one)) for one in works), self.page())
            bench.database.heal()
            await asyncio.sleep(100)
            await bench.database.land()
            await asyncio.sleep(100)
        raise AssertionError("the batch does not end")

    async def page(self) -> None:
        """Read the lines of the output file that follow the lines that were read before."""
        for _ in range(3):
            batch = None
            with suppress(StoreError):
                batch = await self.bench.rows.batch(KEY)
            if batch is not None and batch.has_output_file:
                with suppress(BlobUnavailable, StoreError):
                    _, more = await self.bench._early(self.read.count(b"\n"), 4, 10**6)
                    self.read += more
            await asyncio.sleep(1.3)


@settings(max_examples=RUNS, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    deaths=st.sets(st.integers(1, 500), max_size=6),
    lost_puts=st.lists(st.integers(0, 5), max_size=3),
    cancel_at=st.none() | st.integers(1, 40),
    refused=st.sets(st.integers(0, LINES - 1), max_size=4),
    lost=st.lists(st.tuples(st.sampled_from(("before", "after", "later")), st.integers(0, 60)), max_size=4),
)
def test_each_line_ends_once_whatever_dies(
    deaths: set[int],
    lost_puts: list[int],
    cancel_at: int | None,
    refused: set[int],
    lost: list[tuple[When, int]],
) -> None:
    """Each id is in one file once, counts and bill add up, and a reader of the growing file sees each line once."""
    story = Story(deaths, lost_puts, cancel_at, refused, lost)
    bench = story.bench
    try:
        bench.do(story.run())
        assert bench.bucket is not None
        bench.bucket.fail(0)
        batch = bench.batch()
        bench.check_end([f"line-{place}" for place in range(LINES)]) if batch.valid_at else None
        assert batch.status in {BatchStatus.COMPLETED, BatchStatus.CANCELLED}
        assert (cancel_at is None) <= (batch.task.status is Status.COMPLETED)
        check_bill(story)
        final = bench.do(bench._content(OUTPUT))
        assert final.startswith(story.read)
        if batch.status is BatchStatus.COMPLETED:
            assert {one["response"] is not None for one in bench.content(ERRORS)} <= {True}
            assert {int(one["custom_id"][5:]) for one in bench.content(ERRORS)} == refused
    finally:
        bench.close()


async def survived(work: Coroutine[Any, Any, object]) -> object:
    """Run a worker that gives up if the database does not answer."""
    with suppress(StoreError):
        return await work
    return None


def check_bill(story: Story) -> None:
    usage, model = story.bench.batch().task.usage, story.bench.model
    assert usage.model_calls >= len(model.calls)
    dead = len(story.bench.points.deaths) + story.rounds_lost
    assert usage.in_doubt <= dead * CONCURRENCY
    # Each answer is paid for. The answer must be in the output file, unless the worker that got it has died.
    answered = set(model.answered)
    lost = answered - {one["custom_id"][5:] for one in story.bench.content(OUTPUT)}
    assert len(lost) <= dead * CONCURRENCY
    doubled = len(model.answered) - len(answered)
    assert doubled <= dead * CONCURRENCY
