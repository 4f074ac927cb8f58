"""Outputs in segments: which worker may add to a segment, and how each output is added exactly once."""

import asyncio
import json
import zlib
from typing import Any

import pytest

from src.kernel.domain.errors import ModelReplyMalformed
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import load
from src.kernel.domain.structure import Quote
from src.kernel.domain.task import DEADLINE_EXCEEDED, Reduce, Route, Status
from src.kernel.run.context import Ended, Released
from src.kernel.store import claiming
from src.kernel.store.claims import CallKey, Claim, Finish, Output, Progress
from src.kernel.store.segments import pieces, unpack
from src.kernel.work.worker import Host
from tests.conformance.cases.steps import progress
from tests.support.store_bench import LEASE_MS, OVERDUE, RETENTION_MS, START_MS, StoreBench, outputs
from tests.support.worker_bench import WorkerBench

TASK = TaskKey("task")
BEGUN = 1_800_000_000_001


@pytest.fixture
def bench():
    made = StoreBench()
    made.insert(chunks=4)
    yield made
    made.database.close()


def segments(bench: StoreBench) -> list[tuple[int, str]]:
    rows = bench.database.rows("SELECT part, places FROM segments ORDER BY level, part")
    return [(row["part"], row["places"]) for row in rows]


def texts(bench: StoreBench) -> list[str | None]:
    return [chunk.output for chunk in bench.run(bench.store.chunks(TASK)) or []]


def settle(bench: StoreBench, claim: Claim, made: Progress) -> None:
    bench.run(bench.store.settle(claim, made, OVERDUE, RETENTION_MS))


def test_a_later_try_adds_what_the_earlier_one_had_not(bench: StoreBench):
    claim = bench.claim()
    first = progress(claim, outputs=outputs(0, 1), completed=2)
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS))[0]
    settle(bench, claim, first)
    again = progress(claim, step=first.step, outputs=outputs(0, 1, 2), tries=(2,), completed=3)
    settle(bench, claim, again)
    settle(bench, claim, first)
    assert segments(bench) == [(0, "0,1,2")]
    assert texts(bench) == ["output 0", "output 1", "output 2"]


def test_the_steps_of_another_claim_are_other_writes(bench: StoreBench):
    """A write's outputs may be stored although its number is not."""
    claim = bench.claim()
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS))[0]
    made = progress(claim, step=claim.step + 1, outputs=outputs(0, 1), completed=2)
    assert not bench.run(bench.store.step(claim, made, Finish(RETENTION_MS)))
    assert bench.run(bench.store.retry(TASK, LEASE_MS)) is not None
    heir = bench.claim()
    assert heir.step == claim.step
    assert heir.outputs == {CallKey(0, 0), CallKey(0, 1)}
    rest = progress(heir, step=heir.step + 1, outputs=outputs(2, 3), completed=4)
    assert bench.run(bench.store.step(heir, rest, Finish(RETENTION_MS)))
    assert texts(bench) == ["output 0", "output 1", "output 2", "output 3"]


def test_a_write_of_the_next_claim_that_is_sent_again_adds_nothing(bench: StoreBench):
    claim = bench.claim()
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS))[0]
    made = progress(claim, step=5, outputs=outputs(0), completed=1)
    assert not bench.run(bench.store.step(claim, made, Finish(RETENTION_MS)))
    assert bench.run(bench.store.retry(TASK, LEASE_MS)) is not None
    heir = bench.claim()
    made = progress(heir, step=1, outputs=outputs(1), completed=2)
    settle(bench, heir, made)
    settle(bench, heir, made)
    assert segments(bench) == [(0, "0,1")]


def test_what_was_cut_off_counts_with_its_record(bench: StoreBench):
    """Cut-off outputs of a write whose totals were refused count once, even if the write lands twice."""
    claim = bench.claim()
    (cut,) = outputs(0)
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS))[0]
    made = progress(
        claim, step=claim.step + 1, outputs=[cut._replace(finish_reason="length")], completed=1, truncated=1
    )
    for _ in range(2):
        assert not bench.run(bench.store.step(claim, made, Finish(RETENTION_MS)))
    assert bench.run(bench.store.retry(TASK, LEASE_MS)) is not None
    assert bench.claim().truncated == 1


def test_a_result_is_the_top_of_the_tasks_own_merge(bench: StoreBench):
    for name, levels in (("lower", 1), ("higher", 2)):
        bench.insert(name, chunks=2, reduce=Reduce.MERGE)
        claim = bench.claim(name)
        made = [*outputs(0, 1), *(one for level in range(levels) for one in outputs(0, tag=name, level=level + 1))]
        assert bench.step(claim, Finish(RETENTION_MS, levels), outputs=made, completed=2, calls_minimum=2 + levels)
    lower = bench.run(bench.store.task(TaskKey("lower")))
    assert lower is not None
    assert lower.result == "lower 0"


def test_a_claim_reads_a_row_for_each_segment(bench: StoreBench):
    bench.insert("long", chunks=1_000)
    claim = bench.claim("long")
    done = [*range(400), *range(401, 1_000)]
    for first in range(0, len(done), 6):
        some = done[first : first + 6]
        assert bench.step(claim, outputs=outputs(*some), completed=first + len(some))
    bench.pass_ms(LEASE_MS + 1)
    heir = bench.claim("long", holder="heir")
    assert {key.position for key in heir.outputs} == set(done)
    covered = claiming.CLAIM_OUTPUTS.bind(task_key="long", holder="heir")
    found = bench.database.rows(covered.sql, *covered.values)
    (segments,) = bench.database.rows("SELECT count(*) AS count FROM segments")
    assert 1 <= len(found) == segments["count"] <= 3
    assert {(row["level"], row["failed"]) for row in found} == {(0, 0)}
    assert sorted(int(place) for row in found for place in row["places"].split(",")) == done


QUOTES = (Quote("/a/0", 1, 7), Quote("/b~1", 3, 4))


@pytest.mark.parametrize(
    "more",
    [
        (),
        (2,),
        (None, BEGUN - 7_000),
        (2, BEGUN - 7_000),
        (None, None, QUOTES),
        (2, None, QUOTES[:1]),
        (None, None, (), True),
    ],
)
def test_an_output_keeps_its_calls_and_times(bench: StoreBench, more: tuple[Any, ...]):
    made = Output(CallKey(0, 2), "漢\0字", 3, "length", BEGUN, BEGUN + 2_000, *more)
    assert bench.step(bench.claim(), outputs=[made], completed=1)
    (row,) = bench.database.rows("SELECT hex(body) AS body FROM segments")
    assert list(unpack(0, row["body"])) == [made]
    chunks = bench.run(bench.store.chunks(TASK)) or []
    assert [(chunk.index, chunk.attempts, chunk.lane, chunk.first_started_at, chunk.cached) for chunk in chunks] == [
        (2, 3, made.lane, made.first_ms, made.cached)
    ]


@pytest.mark.parametrize("members", [6, 7, 8, 9, 10, 11])
def test_an_entry_of_older_code_and_of_later_code_is_read(members: int):
    entry = [2, "said", 1, "stop", BEGUN, BEGUN + 1, 3, BEGUN - 9, [["/a", 1, 2]], True, "later"][:members]
    (read,) = unpack(0, zlib.compress(json.dumps([entry]).encode()).hex())
    assert read[1:6] == ("said", 1, "stop", BEGUN, BEGUN + 1)
    assert (read.lane, read.first_ms) == (3 if members > 6 else None, BEGUN - 9 if members > 7 else None)
    assert (read.quotes, read.cached) == (((Quote("/a", 1, 2),) if members > 8 else ()), members > 9)


def test_an_output_without_lane_and_other_calls_takes_no_more_than_before():
    ((piece,),) = pieces([Output(CallKey(0, 0), "said", 1, "stop", BEGUN, BEGUN + 1)])
    assert json.loads(zlib.decompress(bytes.fromhex(piece.body))) == [[0, "said", 1, "stop", BEGUN, BEGUN + 1]]


def test_a_task_that_may_be_put_back_keeps_its_input(bench: StoreBench):
    claim = bench.claim()
    assert not bench.step(claim, Finish(RETENTION_MS), outputs=outputs(0), completed=1)
    assert bench.run(bench.store.cancel(TASK, RETENTION_MS))[0]
    assert not bench.step(claim, Finish(RETENTION_MS), outputs=outputs(1, 2, 3), completed=4)
    bench.insert("late", chunks=1, deadline_ms=1)
    late = bench.claim("late")
    bench.pass_ms(2)
    assert not bench.step(late, Finish(RETENTION_MS), outputs=outputs(0), completed=1)
    settle(bench, late, progress(late, completed=1))
    assert bench.row("late")["error_code"] == DEADLINE_EXCEEDED
    assert {row["input"] for row in bench.database.rows("SELECT input FROM texts")} == {"xxxx", "x"}


@pytest.mark.parametrize("keep", [True, False])
def test_a_worker_empties_the_input_unless_it_is_to_be_kept(make, *, keep: bool):
    worker = make(keep_input=keep)
    worker.insert(2)
    assert worker.run() == Ended(Status.COMPLETED)
    (row,) = worker.database.rows("SELECT input, instructions FROM texts")
    assert row == {"input": "xx" if keep else "", "instructions": "do"}
    assert [(chunk.start, chunk.end) for chunk in worker.do(worker.store.chunks(TASK))] == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("settings", "terms", "name"),
    [
        ({}, {}, "xx"),
        ({}, {"metadata": {"name": " "}}, "xx"),
        ({}, {"metadata": {"title": "named"}}, None),
        ({"keep_input": True}, {"metadata": {"title": "named"}}, "xx"),
        ({"keep_names": False}, {}, None),
        ({"keep_names": False, "keep_input": True}, {}, "xx"),
        ({}, {"response": {"store": True}}, "xx"),
        ({}, {"response": {"store": False}}, None),
    ],
)
def test_a_first_line_that_names_the_task_outlives_the_text(
    make, settings: dict[str, Any], terms: dict[str, Any], name: str | None
):
    worker = make(**settings)
    worker.insert(2, **terms)
    assert worker.run() == Ended(Status.COMPLETED)
    assert worker.task().first_line == name


@pytest.mark.parametrize(("value", "means"), [(None, True), (False, False), ("false", False), ("true", True)])
def test_names_are_kept_unless_a_variable_forbids_it(value: object, *, means: bool):
    assert load({"KEEP_NAMES": value}.get).keep_names is means


def test_a_worker_says_when_each_call_started_and_ended(make):
    worker = make(concurrency=2)
    worker.do(asyncio.sleep(7))
    worker.insert(4)
    assert worker.run() == Ended(Status.COMPLETED)
    (row,) = worker.database.rows("SELECT hex(body) AS body FROM segments")
    times = [(output.started_ms, output.ended_ms) for output in unpack(0, row["body"])]
    begun = START_MS + 7_000
    assert times == [(begun, begun + 1_000)] * 2 + [(begun + 1_000, begun + 2_000)] * 2


def recorded(worker: WorkerBench) -> list[Output]:
    rows = worker.database.rows("SELECT hex(body) AS body FROM segments")
    return sorted(output for row in rows for output in unpack(0, row["body"]))


def test_a_worker_says_when_the_first_of_several_calls_started(make):
    worker = make(concurrency=2)
    worker.insert(2)
    worker.model.act = lambda call, number: ModelReplyMalformed("garbage") if number < 3 else None
    assert worker.run() == Ended(Status.COMPLETED)
    for output in recorded(worker):
        assert output.calls == 2
        assert output.first_ms == START_MS
        assert output.started_ms is not None
        assert output.started_ms > START_MS + 1_000


def test_the_first_call_of_an_earlier_worker_has_no_time(make):
    worker = make()
    worker.insert(2)
    worker.model.act = lambda call, number: ModelReplyMalformed("garbage") if number in {1, 3} else None
    back = worker.run(Host(Route.QUEUE, 0.5))
    assert isinstance(back, Released)
    worker.do(asyncio.sleep(back.delay_seconds))
    assert worker.run() == Ended(Status.COMPLETED)
    assert [(output.calls, output.first_ms) for output in recorded(worker)] == [(3, None), (1, None)]


def test_an_output_says_which_lane_made_its_call(make):
    worker = make()
    worker.insert(14)
    assert worker.run(worker.laned_host()) == Ended(Status.COMPLETED)
    assert [output.lane for output in recorded(worker)] == [1] * 6 + [2] * 6 + [3] * 2
    chunks = worker.do(worker.store.chunks(TASK))
    assert [chunk.lane for chunk in chunks] == [1] * 6 + [2] * 6 + [3] * 2
