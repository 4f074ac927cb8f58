"""A property of tasks whose text is in a file: whatever dies, the chunks are those of the whole text."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.kernel.domain import limits
from src.kernel.domain.errors import ModelUnavailable, StoreError
from src.kernel.domain.task import Reduce, Route, Status, Task
from src.kernel.text.chunks import chunks, cuts, is_blank
from src.kernel.work.worker import Host
from tests.support.sqlite_d1 import NETWORK_LOST, When
from tests.support.text_bench import TEXT_FILE, TEXT_TASK, TextBench, look_near
from tests.support.tiers import sized

(RUNS,) = sized(quick=(25,), test=(200,), campaign=(5_000,))
CONCURRENCY = 6
RETENTION_MS = 10**12
HOSTS = (Host(Route.QUEUE, 600.0), Host(Route.DIRECT, 20.0), Host(Route.DURABLE_OBJECT, 300.0, "object"))
_WORDS = st.sampled_from(["word ", "天地玄黄。", "Two words. ", "👍🏽", "é", "\n\n", "\r\n", "# Head\n", "x" * 70])
# A text without a visible character fails its task.
TEXTS = st.lists(_WORDS, min_size=1, max_size=250).map("".join).filter(lambda text: not is_blank(text))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make slices, windows and lanes small, so that short texts have several."""
    look_near(monkeypatch)
    monkeypatch.setattr(limits, "TEXT_SLICE_BYTES", 400)
    monkeypatch.setattr(limits, "TEXT_SLICES_A_RUN", {"free": 1, "paid": 2})
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 120)
    monkeypatch.setattr(limits, "LANES_FROM_CHUNKS", 20)


class Story:
    """A task, several workers that die at the given points, and calls to the database and the bucket that fail."""

    def __init__(
        self,
        text: str,
        sizes: tuple[int, int],
        reduce: Reduce,
        deaths: set[int],
        unread: list[int],
        cancel_at: int | None,
        lost: list[tuple[When, int]],
    ) -> None:
        self.bench = TextBench(patience_seconds=0, max_attempts=20)
        self.text = text
        self.bench.begin_text(text.encode(), chunk_chars=sizes[0], overlap=sizes[1], reduce=reduce)
        self.bench.points.deaths = {self.bench.points.passed + death for death in deaths}
        self.unread = unread
        self.lost = lost
        self.cancel_at = cancel_at
        self.tries: dict[str, int] = {}
        self.rounds_lost = len(lost)
        self.reached_at: int | None = None  # How many points were passed before the first call.
        self.began_at = self.bench.points.passed
        self.bench.model.act = self.act

    def act(self, text: str, number: int) -> object:
        if self.reached_at is None:
            self.reached_at = self.bench.points.passed - self.began_at
        if number == self.cancel_at:
            self.bench.loop.create_task(self.bench.store().cancel(TEXT_TASK, RETENTION_MS))
        self.tries[text] = self.tries.get(text, 0) + 1
        return ModelUnavailable("503") if number % 7 == 0 and self.tries[text] < 3 else None

    async def run(self) -> Task:
        bench = self.bench
        for round_number in range(60):
            task = await bench.store().task(TEXT_TASK)
            assert task is not None
            if task.status.terminal:
                return task
            assert (task.total == 0) <= (not bench.model.calls), "a call before the text was cut"
            if self.unread and bench.bucket is not None:
                bench.bucket.fail(self.unread.pop() % 3)
            works: list[Coroutine[Any, Any, object]] = [
                bench.worker().run(TEXT_TASK, HOSTS[(round_number + number) % len(HOSTS)]) for number in range(2)
            ]
            if self.lost:
                when, passing = self.lost.pop()
                bench.database.fail(NETWORK_LOST, when, 3, passing=passing)
            await asyncio.gather(*(bench.mortal(survived(one)) for one in works))
            bench.database.heal()
            await asyncio.sleep(100)
            await bench.database.land()
            await asyncio.sleep(100)
        raise AssertionError("the task does not end")


async def survived(work: Coroutine[Any, Any, object]) -> object:
    """Let a worker give up if the database does not answer."""
    with suppress(StoreError):
        return await work
    return None


LONG = "# Head\n\n" + "Two words. 天地玄黄。👍🏽 é\r\n" * 25


@pytest.mark.parametrize("when", ["death", "before", "after", "later"])
def test_the_cut_survives_each_single_fault(when: When | Literal["death"], monkeypatch: pytest.MonkeyPatch) -> None:
    """One fault at each await in turn, until the text is cut: the cuts are those of the whole text."""
    monkeypatch.setattr(limits, "TEXT_SLICES_A_RUN", {"free": 1, "paid": 3})
    faults, is_reached = 0, True
    while is_reached:
        story = Story(LONG, (40, 5), Reduce.NONE, {faults + 1} if when == "death" else set(), [], None, [])
        if when != "death":
            story.lost = [(when, faults)]
        bench = story.bench
        try:
            task = bench.do(story.run())
            is_reached = story.reached_at is None or faults < story.reached_at
            assert task.status is Status.COMPLETED
            (row,) = bench.database.rows("SELECT cuts FROM texts")
            assert row["cuts"] == str(list(cuts(LONG, 40, 5))).replace(" ", "")
            assert sorted(one.output for one in bench.do(bench.store().chunks(TEXT_TASK))) == sorted(
                f"<{LONG[one.start : one.end]}>" for one in chunks(cuts(LONG, 40, 5), 5)
            )
            check_bill(story, task)
        finally:
            bench.close()
        faults += 1
    assert faults > 15, "the text was cut in too few slices"


@settings(max_examples=RUNS, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=TEXTS,
    sizes=st.integers(20, 90).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most // 2))),
    reduce=st.sampled_from((Reduce.NONE, Reduce.MERGE)),
    deaths=st.sets(st.integers(1, 400), max_size=6),
    unread=st.lists(st.integers(0, 5), max_size=3),
    cancel_at=st.none() | st.integers(1, 40),
    lost=st.lists(st.tuples(st.sampled_from(("before", "after", "later")), st.integers(0, 60)), max_size=4),
)
def test_the_chunks_are_those_of_the_whole_text_whatever_dies(
    text: str,
    sizes: tuple[int, int],
    reduce: Reduce,
    deaths: set[int],
    unread: list[int],
    cancel_at: int | None,
    lost: list[tuple[When, int]],
) -> None:
    story = Story(text, sizes, reduce, deaths, unread, cancel_at, lost)
    bench = story.bench
    try:
        task = bench.do(story.run())
        assert task.status in {Status.COMPLETED, Status.CANCELLED}
        assert (cancel_at is None) <= (task.status is Status.COMPLETED)
        ends = cuts(text, *sizes)
        spans = chunks(ends, sizes[1])
        texts = [text[span.start : span.end] for span in spans]
        if task.total:
            assert task.total == len(ends)
            (row,) = bench.database.rows("SELECT cuts FROM texts")
            assert row["cuts"] == str(list(ends)).replace(" ", "")
        if reduce is Reduce.NONE:
            assert set(bench.model.calls) <= set(texts)
        done = bench.do(bench.store().chunks(TEXT_TASK))
        assert [(one.start, one.end) for one in done] == [
            (spans[one.index].start, spans[one.index].end) for one in done
        ]
        assert all(one.output == f"<{texts[one.index]}>" for one in done)
        if task.status is Status.COMPLETED:
            assert len(done) == len(ends)
            assert task.usage.minimum_calls >= len(ends)
        check_bill(story, task)
        assert bench.do(bench.files().delete(TEXT_FILE)) is not None
    finally:
        bench.close()


def check_bill(story: Story, task: Task) -> None:
    made, doubted = len(story.bench.model.calls), task.usage.in_doubt
    assert task.usage.model_calls - doubted <= made <= task.usage.model_calls
    deaths = sum(death <= story.bench.points.passed for death in story.bench.points.deaths)
    assert doubted <= CONCURRENCY * (deaths + story.rounds_lost + 1)
