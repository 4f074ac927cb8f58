"""The writes that name parts of a batch's files take effect once, and not after another writer has come."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from src.features.batches.lines.line_index import Portion
from src.features.batches.store.batch_files import GROW, BatchFileStore, moving, places_without
from src.features.batches.store.batches import read_on
from src.features.batches.work.growth import StoredLines, object_of, store_segments
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Failure, Route, Status
from src.kernel.store.claims import NOTHING_ELSE, Also, CallKey, Claim, Continue, FailedCall, Finish, Output, Tries
from tests.conformance.cases.steps import progress
from tests.support.batch_bench import KEY, OUTPUT, BatchBench, lines

LEASE_MS = 60_000
LINES = 60


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchBench]:
    """Give a bench with a batch whose lines were found valid, and whose segments are small."""
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)
    made = BatchBench()
    made.begin(lines(LINES))
    made.run()
    yield made
    made.close()


def claimed(bench: BatchBench) -> Claim:
    claim = bench.store().claim(KEY, holder="holder", host="", route=Route.QUEUE, lease_ms=LEASE_MS)
    made = bench.do(claim)
    assert isinstance(made, Claim)
    return made


def recorded(bench: BatchBench, claim: Claim, count: int) -> int:
    for place in range(count):
        outputs = [Output(CallKey(0, place), f"{place:0300}", 1)]
        step = claim.step + 1 + place
        assert write(bench, claim, step, outputs=outputs, completed=place + 1, calls_settled=place + 1)
    return claim.step + count


def write(bench: BatchBench, claim: Claim, step: int, also: Also | None = None, **changes: Any) -> bool:
    chars = limits.SEGMENT_CHARS_OF_BATCH
    made = progress(claim, **{"step": step, "calls_minimum": LINES, "segment_chars": chars, **changes})
    return bool(bench.do(bench.store().step(claim, made, Continue(LEASE_MS), also=also or NOTHING_ELSE)))


def stored(bench: BatchBench) -> StoredLines:
    waiting = bench.do(bench.lines.waiting(KEY))
    bucket = bench.files().bucket
    chosen = object_of(waiting[:-1], 2_000)
    made = bench.do(store_segments(bench.lines, bucket, KEY, OUTPUT, "c1", chosen))
    assert isinstance(made, StoredLines)
    return made


def naming(made: StoredLines) -> Also:
    return Also(lambda under: moving(GROW, KEY, OUTPUT, made.segments, made.added, under))


def file_row(bench: BatchBench) -> dict[str, Any]:
    (row,) = bench.database.rows("SELECT parts, bytes FROM files WHERE id = ?", OUTPUT)
    return row


def test_a_part_is_named_once(bench: BatchBench) -> None:
    claim = claimed(bench)
    step = recorded(bench, claim, 12)
    _, before = bench.early()
    made = stored(bench)
    counts = {"completed": 12, "calls_settled": 12}
    assert write(bench, claim, step + 1, naming(made), **counts)
    row = file_row(bench)
    assert row["bytes"] == sum(part.bytes for part in made.added) > 1_000
    assert write(bench, claim, step + 1, naming(made), **counts)
    assert write(bench, claim, step + 2, naming(made), **counts)
    assert file_row(bench) == row
    assert bench.early()[1] == before
    (use,) = bench.database.rows("SELECT bytes FROM file_use")
    assert use["bytes"] == row["bytes"] + len(lines(LINES))


def test_no_line_is_in_two_parts_if_an_earlier_write_lands_late(bench: BatchBench) -> None:
    claim = claimed(bench)
    step = recorded(bench, claim, 12)
    _, before = bench.early()
    few, waiting = stored(bench), bench.do(bench.lines.waiting(KEY))
    assert len(few.segments) < len(waiting) - 1
    many = bench.do(store_segments(bench.lines, bench.files().bucket, KEY, OUTPUT, "c2", waiting[:-1]))
    counts = {"completed": 12, "calls_settled": 12}
    assert write(bench, claim, step + 1, naming(few), **counts)
    row = file_row(bench)
    assert write(bench, claim, step + 2, naming(many), **counts)
    assert file_row(bench) == row
    assert bench.early()[1] == before


def test_lines_that_move_into_the_file_while_they_are_read_are_read_there(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has read from the file before, when it was shorter."""
    claim = claimed(bench)
    step = recorded(bench, claim, 12)
    _, before = bench.early()
    assert write(bench, claim, step + 1, naming(stored(bench)), completed=12, calls_settled=12)
    more, read, reads = stored(bench), BatchFileStore.bodies, list[range]()

    async def after_the_move(store: BatchFileStore, task_key: TaskKey, parts: range) -> list[list[str]]:
        reads.append(parts)
        if len(reads) == 1:
            facts = {"completed": 12, "calls_settled": 12, "calls_minimum": LINES}
            made = progress(claim, step=step + 2, segment_chars=limits.SEGMENT_CHARS_OF_BATCH, **facts)
            assert await bench.store().step(claim, made, Continue(LEASE_MS), also=naming(more))
        return await read(store, task_key, parts)

    monkeypatch.setattr(BatchFileStore, "bodies", after_the_move)
    assert bench.early()[1] == before
    assert len(reads) > 1


def test_a_part_is_not_named_after_the_claim(bench: BatchBench) -> None:
    claim = claimed(bench)
    step = recorded(bench, claim, 12)
    made = stored(bench)
    bench.pass_seconds(LEASE_MS / 1000 + 600)
    heir = bench.store().claim(KEY, holder="heir", host="", route=Route.QUEUE, lease_ms=LEASE_MS)
    assert isinstance(bench.do(heir), Claim)
    before = bench.database.rows("SELECT * FROM segments")
    assert not write(bench, claim, step + 1, naming(made), completed=12, calls_settled=12)
    assert file_row(bench)["parts"] == "[]"
    assert bench.database.rows("SELECT * FROM segments") == before


def test_a_part_is_named_only_in_a_file_that_grows(bench: BatchBench) -> None:
    claim = claimed(bench)
    step = recorded(bench, claim, 12)
    made = stored(bench)
    bench.database.rows("UPDATE files SET state = 'ready' WHERE id = ? RETURNING id", OUTPUT)
    write(bench, claim, step + 1, naming(made), completed=12, calls_settled=12)
    assert file_row(bench)["parts"] == "[]"
    assert not bench.database.rows("SELECT part FROM segments WHERE object IS NOT NULL")


def test_no_worker_adds_a_line_once_a_writer_has_the_batch(bench: BatchBench) -> None:
    claim = claimed(bench)
    step = recorded(bench, claim, 5)
    bench.do(bench.store().cancel(KEY, 10**9))
    assert bench.do(bench.lines.take(KEY, "writer", LEASE_MS)) is not None
    late = [Output(CallKey(0, 30), "late", 1)]
    write(bench, claim, step + 1, outputs=late, completed=6, calls_settled=6)
    assert "30" not in bench.database.rows("SELECT group_concat(places) AS places FROM segments")[0]["places"]


def test_only_one_writer_has_a_batch(bench: BatchBench) -> None:
    claimed(bench)
    bench.do(bench.store().cancel(KEY, 10**9))
    first = bench.do(bench.lines.take(KEY, "first", LEASE_MS))
    assert first is not None
    assert bench.do(bench.lines.take(KEY, "another", LEASE_MS)) is None
    bench.pass_seconds(limits.WRITER_SECONDS + 1)
    second = bench.do(bench.lines.take(KEY, "another", LEASE_MS))
    assert second is not None
    assert not bench.do(bench.lines.add_errors(first, range(LINES), [], lines=0, shelf="r2"))
    assert not bench.do(bench.lines.complete(first))
    assert bench.do(bench.lines.add_errors(second, range(LINES), [], lines=0, shelf="r2"))
    assert not bench.do(bench.lines.add_errors(second, range(LINES), [], lines=0, shelf="r2"))
    assert bench.do(bench.lines.complete(second))


def test_a_batch_does_not_end_before_each_line_is_in_a_file(bench: BatchBench) -> None:
    """The write that ends a batch checks this itself, because a write of the error file may have failed unnoticed."""
    claimed(bench)
    bench.do(bench.store().cancel(KEY, 10**9))
    of = bench.do(bench.lines.take(KEY, "writer", LEASE_MS))
    for places in (range(LINES - 1), range(LINES - 1, LINES)):
        assert not bench.do(bench.lines.complete(of))
        assert bench.do(bench.lines.add_errors(of, places, [], lines=0, shelf="r2"))
    assert bench.do(bench.lines.complete(of))


def test_a_writer_that_a_restored_database_has_forgotten_writes_nothing(bench: BatchBench) -> None:
    claim = claimed(bench)
    recorded(bench, claim, 5)
    bench.do(bench.store().cancel(KEY, 10**9))
    before = bench.database.snapshot()
    forgotten = bench.do(bench.lines.take(KEY, "forgotten", LEASE_MS))
    bench.database.restore(before)
    known = bench.do(bench.lines.take(KEY, "known", LEASE_MS))
    assert forgotten.fence == known.fence
    made = bench.do(
        store_segments(bench.lines, bench.files().bucket, KEY, OUTPUT, "w", bench.do(bench.lines.waiting(KEY)))
    )
    rows = bench.database.rows("SELECT * FROM batches")
    bench.do(bench.lines.give_back(forgotten))
    assert not bench.do(bench.lines.move(forgotten, made.segments, made.added))
    assert not bench.do(bench.lines.add_errors(forgotten, range(LINES), [], lines=0, shelf="r2"))
    assert bench.database.rows("SELECT * FROM batches") == rows
    assert bench.do(bench.lines.move(known, made.segments, made.added))
    assert bench.do(bench.lines.add_errors(known, range(LINES), [], lines=0, shelf="r2"))
    assert not bench.do(bench.lines.complete(forgotten))
    assert bench.do(bench.lines.complete(known))


@pytest.mark.parametrize(
    ("answered", "missing"),
    [([], [range(5)]), ([range(5)], []), ([range(1, 2), range(3, 4)], [range(1), range(2, 3), range(4, 5)])],
)
def test_places_without_an_answer(answered: list[range], missing: list[range]) -> None:
    assert places_without(answered, 5) == missing


def test_a_claim_reads_no_row_for_each_line(bench: BatchBench) -> None:
    def steps(count: int) -> int:
        places = ",".join(map(str, range(count)))
        bench.database.rows("DELETE FROM segments")
        bench.database.rows(
            "INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body) "
            "VALUES (?, 0, 0, 1, 1, 0, ?, ?, x'')",
            KEY,
            places,
            places,
        )
        taken = 0

        def step() -> None:
            nonlocal taken
            taken += 1

        bench.database._connection.set_progress_handler(step, 1)
        bench.pass_seconds(10_000)
        claim = claimed(bench)
        bench.do(bench.lines.waiting(KEY))
        # what a poll of a batch tries that is being cancelled
        assert bench.do(bench.lines.take(KEY, "another", LEASE_MS)) is None
        bench.database._connection.set_progress_handler(None, 0)
        assert claim.outputs == {CallKey(0, place) for place in range(count)}
        return taken

    few, many = steps(30), steps(LINES * 100)
    assert many < few + 100


def test_a_part_of_the_validation_that_lands_late_adds_no_lines(bench: BatchBench) -> None:
    slices = "SELECT first, lines FROM batch_slices"
    claim, before = claimed(bench), bench.database.rows(slices)
    told: dict[str, Any] = {"read_bytes": 5, "read_lines": 1, "model": None, "faults": []}
    late = Also(lambda under: read_on(under, 0, found=Portion(LINES, 0, ((0, 5),), (1,)), **told))
    assert write(bench, claim, claim.step + 1, also=late)
    assert bench.database.rows(slices) == before


def test_a_claim_knows_the_lines_that_failed_for_good(bench: BatchBench) -> None:
    claim = claimed(bench)
    failure = Failure.of("model_refused", "400", False)
    failed = [FailedCall(CallKey(0, place), Tries(1, 1), True, failure, gap_chars=0) for place in (3, 4, 40)]
    assert write(bench, claim, claim.step + 1, failures=failed, failed=3, calls_settled=3)
    bench.pass_seconds(10_000)
    again = claimed(bench)
    assert again.left_out == {CallKey(0, 3), CallKey(0, 4), CallKey(0, 40)}
    assert not again.outputs
    assert not again.failed_for_good
    assert not again.gaps  # the worker keeps no failure in memory of a line that an earlier claim gave up


@pytest.mark.parametrize("most", [1_000, 500])
def test_refusals_of_other_lines_hide_none(bench: BatchBench, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Refusals that are long together, or each alone, are read one by one."""
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", most)
    claim = claimed(bench)
    failure = Failure.of("model_refused", "400", False)
    refusals = {place: f'{{"status": 400, "body": "{place:0600}"}}' for place in (3, 4, 40)}
    refused = [
        FailedCall(CallKey(0, place), Tries(1, 1), True, failure, gap_chars=0, provider_answer=refusal)
        for place, refusal in refusals.items()
    ]
    assert write(bench, claim, claim.step + 1, failures=refused, failed=3, calls_settled=3)
    for first, found, behind in ((0, 3, 4), (4, 4, 40), (5, 40, LINES)):
        read = bench.do(bench.lines.refusals(KEY, range(first, LINES)))
        assert read == ({found: ("400", refusals[found])}, behind)


def test_a_batch_does_not_end_while_a_line_waits_for_its_next_call(bench: BatchBench) -> None:
    claim = claimed(bench)
    outputs = [Output(CallKey(0, place), "x", 1) for place in range(1, LINES)]
    failure = Failure.of("model_unavailable", "503", True)
    waiting, given_up = (
        [FailedCall(CallKey(0, 0), Tries(1, 1), final, failure, gap_chars=0)] for final in (False, True)
    )
    counts: dict[str, Any] = {"completed": LINES - 1, "calls_settled": LINES}
    assert write(bench, claim, claim.step + 1, outputs=outputs, failures=waiting, **counts)
    end = Finish(10**9, gaps=True, may_be_empty=True)

    def finished(step: int, **changes: Any) -> bool:
        made = progress(claim, **{"step": step, "calls_minimum": LINES, **counts, **changes})
        return bool(bench.do(bench.store().step(claim, made, end)))

    assert not finished(claim.step + 2, failed=1)  # even if the worker has miscounted
    assert bench.batch().task.status is Status.PROCESSING
    assert finished(claim.step + 3, failures=given_up, failed=1)
    assert bench.batch().task.status is Status.COMPLETED


@pytest.mark.parametrize("sizes", [[9] * 40, [799, 1], [400, 399, 1, 5], [800], [90_000, 2], [1] * 50, [10, 9_000, 3]])
def test_a_segment_ends_with_the_line_that_fills_it(bench: BatchBench, sizes: list[int]) -> None:
    """A segment takes lines until they have SEGMENT_CHARS_OF_BATCH characters together, however long each is."""
    claim = claimed(bench)
    for place, size in enumerate(sizes):
        outputs = [Output(CallKey(0, place), "x" * size, 1)]
        assert write(
            bench, claim, claim.step + 1 + place, outputs=outputs, completed=place + 1, calls_settled=place + 1
        )
    wanted: list[list[int]] = [[]]
    for size in sizes:
        if sum(wanted[-1]) >= 800:
            wanted.append([])
        wanted[-1].append(size)
    rows = bench.database.rows("SELECT sizes FROM segments ORDER BY part")
    assert [[int(size) for size in row["sizes"].split(",")] for row in rows] == wanted


def test_a_segment_of_lines_stays_small(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment is full at SEGMENT_BYTES, as each write rewrites it, and D1 limits a row."""
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 1_048_576)
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 100)
    claim = claimed(bench)
    recorded(bench, claim, 12)
    rows = bench.database.rows("SELECT length(body) AS bytes FROM segments ORDER BY part")
    assert len(rows) > 1
    assert all(100 <= row["bytes"] < 200 for row in rows[:-1])


def test_recording_a_line_reads_no_row_for_each_earlier_line(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does the same work for the 3rd and for the 50th line of a segment that is far from full."""
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 1_048_576)
    claim = claimed(bench)

    def record(place: int) -> None:
        outputs = [Output(CallKey(0, place), f"{place:0300}", 1)]
        assert write(
            bench, claim, claim.step + 1 + place, outputs=outputs, completed=place + 1, calls_settled=place + 1
        )

    worked = [bench.database.instructions(partial(record, place)) for place in range(50)]
    assert worked[2] == worked[49] > 0
    assert len(bench.database.rows("SELECT 1 FROM segments")) == 1
