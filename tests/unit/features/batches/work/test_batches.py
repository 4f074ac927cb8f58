"""The work on a batch from its submission to its files: validation, calls, growth and end."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from src.features.batches.lines.lines import LineCode
from src.features.batches.status import BatchStatus
from src.features.batches.store.batch_files import BatchFileStore
from src.features.batches.store.batches import InputMissing
from src.features.batches.work.validation import LOST
from src.features.batches.work.writer import BatchWriter
from src.features.files.file import Purpose
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import ModelRefused, StoreUnavailable
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.domain.task import Route, Status
from src.kernel.run.context import Ended, Released, RunOutcome
from src.kernel.run.memory import MemoryAllowance
from src.kernel.store.claims import Unclaimed
from tests.support.batch_bench import ERRORS, HOST, INPUT, KEY, OUTPUT, WINDOW_MS, BatchBench, MemoryBucket, line, lines

RETENTION_MS = 1_000_000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 1_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)


def ids(count: int) -> list[str]:
    return [f"line-{number}" for number in range(count)]


def test_the_file_grows_in_objects_while_the_batch_goes_on(bench: BatchBench) -> None:
    bench.begin(lines(60))
    assert isinstance(bench.run(), Released)  # the validation of a long batch ends the run, for lanes
    bench.run_to_end()
    assert any(entry["event"] == "batch_grown" for entry in bench.log)
    bench.check_end(ids(60))
    (file,) = bench.database.rows("SELECT parts FROM files WHERE id = ?", OUTPUT)
    assert '"c' in file["parts"]
    assert '"w' in file["parts"]


def test_a_refused_line_is_in_the_error_file_with_the_refusal(bench: BatchBench) -> None:
    answer = (400, {"error": {"message": "too long"}})
    bench.model.act = lambda text, number: ModelRefused("400", of_call=True, answer=answer)
    bench.begin(lines(5))
    bench.run_to_end()
    batch = bench.batch()
    assert batch.status is BatchStatus.COMPLETED
    assert not batch.has_output_file
    bench.check_end(ids(5))
    assert bench.content(ERRORS)[0]["response"]["status_code"] == 400
    assert bench.content(ERRORS)[0]["response"]["body"] == answer[1]
    assert len(bench.model.calls) == 5


def test_refusals_leave_the_database_with_the_lines_of_the_error_file(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTIONS_A_WRITER", {"paid": 1})
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 2_000)
    bench.model.act = lambda text, number: ModelRefused("400", of_call=True, answer=(400, {"error": "x" * 400 + text}))
    bench.begin(lines(40))
    while not bench.batch().task.status.terminal:
        bench.run()
        bench.pass_seconds(1)
    left = [refusals_left(bench)]
    for points in range(2, 300):
        if bench.batch().ended_at is not None:
            break
        bench.points.deaths = {bench.points.passed + points}
        for key in bench.do(bench.lines.unwritten(1, bench.settings.longest_claim_ms)):
            bench.do(bench.mortal(BatchWriter(bench.worker()).run(key)))
        bench.points.deaths = set()
        left.append(refusals_left(bench))
        bench.pass_seconds(61)
    assert left == sorted(left, reverse=True)
    assert len(set(left)) > 5
    assert left[-1] == 0
    bench.check_end(ids(40))
    found = {one["custom_id"]: one["response"]["body"]["error"] for one in bench.content(ERRORS)}
    assert found == {f"line-{number}": "x" * 400 + str(number) for number in range(40)}
    assert len(bench.model.calls) == 40


def refusals_left(bench: BatchBench) -> int:
    (row,) = bench.database.rows("SELECT count(refusal) AS refusals FROM failures")
    return int(row["refusals"])


def test_a_refusal_that_concerns_more_than_the_line_fails_the_batch(bench: BatchBench) -> None:
    bench.model.act = lambda text, number: ModelRefused("401") if number > 3 else None
    bench.begin(lines(12))
    bench.run_to_end()
    assert bench.batch().status is BatchStatus.FAILED
    bench.check_end(ids(12))
    assert {one["error"]["code"] for one in bench.content(ERRORS)} == {"batch_failed"}


@pytest.mark.parametrize("plan", ["free", "paid"])
def test_the_validation_goes_on_in_later_runs(bench: BatchBench, plan: str) -> None:
    bench.settings = type(bench.settings)(plan=plan, model="m", models=("m",))
    bench.begin(lines(100))
    bench.run_to_end()
    slices = bench.database.rows("SELECT first, lines FROM batch_slices ORDER BY first")
    assert sum(one["lines"] for one in slices) == 100
    assert [one["first"] for one in slices[1:]] == [one["first"] + one["lines"] for one in slices[:-1]]
    bench.check_end(ids(100))
    assert len(bench.model.calls) == 100


@pytest.mark.parametrize("plan", ["free", "paid"])
@pytest.mark.parametrize("earlier", [0, 50, 98])
def test_a_custom_id_is_unique_across_slices_and_runs(bench: BatchBench, plan: str, earlier: int) -> None:
    bench.settings = type(bench.settings)(plan=plan, model="m", models=("m",))
    bench.begin(lines(99) + line(f"line-{earlier}").encode())
    bench.run_to_end()
    batch = bench.batch()
    assert batch.status is BatchStatus.FAILED
    assert [(one["code"], one["line"]) for one in batch.errors] == [(LineCode.DUPLICATE_CUSTOM_ID, 100)]
    assert not bench.model.calls


@pytest.mark.parametrize("plan", ["free", "paid"])
def test_the_faults_of_all_slices_have_their_lines_numbers(bench: BatchBench, plan: str) -> None:
    """The first and the last line are faulty, and perhaps another run checks the last one."""
    bench.settings = type(bench.settings)(plan=plan, model="m", models=("m",))
    bench.begin(b"{\n" + lines(98) + b"{")
    bench.run_to_end()
    assert [(one["code"], one["line"]) for one in bench.batch().errors] == [
        (LineCode.INVALID_JSON_LINE, 1),
        (LineCode.INVALID_JSON_LINE, 100),
    ]


def test_a_run_without_time_checks_a_slice(bench: BatchBench) -> None:
    bench.begin(lines(40))
    slices = 0
    while bench.batch().valid_at is None:
        assert isinstance(bench.run(HOST._replace(seconds=0.0)), Released)
        (found,) = bench.database.rows("SELECT count(*) AS count FROM batch_slices")
        assert found["count"] > slices
        slices = found["count"]
    assert slices > 3


def test_no_call_is_made_before_every_line_is_valid(bench: BatchBench) -> None:
    content = lines(30) + b"{\n" + line("line-3").encode() + b"\n" + line("a", url="/v1/x").encode()
    bench.begin(content)
    bench.run_to_end()
    batch = bench.batch()
    assert batch.status is BatchStatus.FAILED
    assert batch.task.failure is not None
    assert batch.task.failure.code == TaskCode.INVALID_BATCH
    codes = [LineCode.INVALID_JSON_LINE, LineCode.DUPLICATE_CUSTOM_ID, LineCode.URL_MISMATCH]
    assert [(one["code"], one["line"]) for one in batch.errors] == list(zip(codes, (31, 32, 33), strict=True))
    assert not bench.model.calls
    assert not batch.has_output_file
    assert not bench.database.rows("SELECT 1 FROM files WHERE owner IS NOT NULL")
    assert not bench.database.rows("SELECT 1 FROM batch_slices")


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\n \n", LineCode.EMPTY_FILE), (b"x" * 5_000, LineCode.LINE_TOO_LARGE), (lines(8), LineCode.TOO_MANY_TASKS)],
)
def test_a_file_that_cannot_be_a_batch_fails(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch, content: bytes, code: str
) -> None:
    monkeypatch.setattr(limits, "BATCH_LINES_MOST", 7)
    monkeypatch.setattr(limits, "BATCH_LINE_BYTES_MOST", 900)
    bench.begin(content)
    bench.run_to_end(most=3)
    batch = bench.batch()
    assert batch.status is BatchStatus.FAILED
    assert [one["code"] for one in batch.errors] == [code]


@pytest.mark.parametrize("ends_by", ["cancellation", "window"])
def test_answers_of_calls_that_are_out_at_the_end_are_kept(bench: BatchBench, ends_by: str) -> None:
    window_ms = WINDOW_MS if ends_by == "cancellation" else 40_000
    bench.begin(lines(60), deadline_ms=window_ms)
    bench.run()
    bench.model.seconds = 30.0

    async def end() -> None:
        await asyncio.sleep(5)
        if ends_by == "cancellation":
            await bench.store().cancel(KEY, RETENTION_MS)

    bench.loop.create_task(end())
    outcome = bench.run()
    assert isinstance(outcome, Ended)
    bench.sweep_to_end()
    assert bench.batch().status is (BatchStatus.CANCELLED if ends_by == "cancellation" else BatchStatus.EXPIRED)
    bench.check_end(ids(60))
    assert len(bench.ids(OUTPUT)) == len(bench.model.calls) == (6 if ends_by == "cancellation" else 12)
    assert bench.batch().task.usage.in_doubt == 0


def test_a_batch_that_no_worker_ends_is_completed_by_the_sweep(bench: BatchBench) -> None:
    bench.begin(lines(60))
    bench.run()
    bench.pass_seconds(WINDOW_MS / 1000 + 1)
    bench.run()  # finds that the window is over
    assert bench.batch().status is BatchStatus.FINALIZING
    bench.sweep_to_end()
    assert bench.batch().status is BatchStatus.EXPIRED
    bench.check_end(ids(60))
    assert {one["error"]["code"] for one in bench.content(ERRORS)} == {"batch_expired"}


def test_a_batch_that_is_cancelled_before_its_lines_are_checked_has_no_files(bench: BatchBench) -> None:
    bench.begin(lines(3))
    bench.do(bench.store().cancel(KEY, RETENTION_MS))
    assert bench.batch().status is BatchStatus.CANCELLING
    bench.sweep_to_end()
    batch = bench.batch()
    assert batch.status is BatchStatus.CANCELLED
    assert not batch.has_output_file
    assert not batch.has_error_file


def test_the_bucket_may_be_away(bench: BatchBench) -> None:
    bench.begin(lines(60))
    bench.bound.fail(3)
    bench.run()
    bench.bound.fail(2)
    bench.run()
    bench.bound.fail(6, landed=True)
    bench.run_to_end()
    bench.check_end(ids(60))
    assert len(bench.model.calls) == 60


def lost_lines(bench: BatchBench, content: bytes, number: int) -> list[str]:
    del bench.bound.parts[INPUT, str(number)]
    size, at, found = bench.bound.part_bytes, 0, []
    for raw in content.splitlines(keepends=True):
        if at < (number + 1) * size and number * size < at + len(raw) - 1:
            found.append(str(json.loads(raw)["custom_id"]))
        at += len(raw)
    return found


def test_a_part_that_is_lost_before_the_check_fails_the_batch(bench: BatchBench) -> None:
    bench.begin(lines(60))
    lost_lines(bench, lines(60), 3)
    bench.run_to_end()
    batch = bench.batch()
    assert batch.status is BatchStatus.FAILED
    assert batch.task.failure is not None
    assert (batch.task.failure.code, batch.task.failure.message) == (TaskCode.INVALID_BATCH, LOST.message)
    assert not bench.model.calls
    assert limits.LOST_PART_SECONDS <= bench.loop.time() <= 2 * limits.LOST_PART_SECONDS


def test_lines_in_a_part_that_is_lost_later_fail_and_the_others_are_answered(bench: BatchBench) -> None:
    bench.begin(lines(60))
    bench.run()
    lost = lost_lines(bench, lines(60), 2)
    assert len(lost) >= 10
    bench.run_to_end()
    batch = bench.batch()
    assert batch.status is BatchStatus.COMPLETED
    assert sorted(bench.ids(OUTPUT)) == sorted(set(ids(60)) - set(lost))
    found = bench.content(ERRORS)
    assert [one["custom_id"] for one in found] == [None] * len(lost)
    assert {one["error"]["code"] for one in found} == {"batch_failed"}
    places = [int(name.partition("-")[2]) for name in lost]
    assert [one["error"]["message"].split()[1] for one in found] == [str(place + 1) for place in places]
    assert (batch.counts.completed, batch.counts.failed) == (60 - len(lost), len(lost))
    assert len(bench.model.calls) == 60 - len(lost)


@pytest.mark.parametrize("seconds", [20.0, 60.0, 300.0])
def test_a_part_that_is_missed_and_there_again_costs_no_line(bench: BatchBench, seconds: float) -> None:
    bench.begin(lines(60))
    key = INPUT, "2"
    body = bench.bound.parts[key]

    def back() -> None:
        bench.bound.parts[key] = body

    for is_valid in (False, True):
        assert (bench.batch().valid_at is not None) is is_valid
        del bench.bound.parts[key]
        bench.loop.call_later(seconds, back)
        bench.run()
        assert [line["event"] for line in bench.log].count("lines_unread") > is_valid
        bench.pass_seconds(max(seconds, 60))
        bench.run()
    bench.run_to_end()
    bench.check_end(ids(60))
    assert sorted(bench.ids(OUTPUT)) == sorted(ids(60))


def test_a_cancelled_batch_ends_although_a_part_is_lost(bench: BatchBench) -> None:
    """The writer waits for the part a while, and then writes the lines that it can read with their ids."""
    bench.begin(lines(60))
    bench.run()
    lost = lost_lines(bench, lines(60), 2)
    bench.do(bench.store().cancel(KEY, RETENTION_MS))
    bench.sweep()
    assert bench.batch().status is BatchStatus.CANCELLING
    bench.sweep_to_end()
    assert bench.batch().status is BatchStatus.CANCELLED
    found = bench.content(ERRORS)
    left = set(ids(60)) - set(bench.ids(OUTPUT))
    assert sorted(one["custom_id"] for one in found if one["custom_id"]) == sorted(left - set(lost))
    without = [one["error"]["code"] for one in found if one["custom_id"] is None]
    assert without == ["batch_failed"] * len(left & set(lost))
    assert without


def test_the_free_plan_writes_many_errors_in_one_invocation() -> None:
    bench = BatchBench(plan="free", part_bytes=20_000)
    bench.begin(lines(50, 700))
    while bench.batch().valid_at is None:
        bench.run()
    bench.do(bench.store().cancel(KEY, RETENTION_MS))
    sweeps = 0
    while bench.batch().ended_at is None:
        bench.sweep()
        sweeps += 1
    bench.check_end(ids(50))
    assert len(bench.ids(OUTPUT)) < 10
    assert sweeps == 4
    bench.close()


async def hangs() -> None:
    await asyncio.sleep(10**6)


async def refuses() -> None:
    raise StoreUnavailable("overloaded")


@pytest.mark.parametrize("trouble", [hangs, refuses])
def test_no_paid_call_is_lost_while_the_file_cannot_grow(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[], Awaitable[None]]
) -> None:
    bench.begin(lines(60))
    bench.run()
    bodies = BatchFileStore.bodies
    asked: list[float] = []

    async def unread(self: BatchFileStore, task_key: TaskKey, parts: range) -> list[list[str]]:
        asked.append(bench.loop.time())
        if len(asked) <= 3:
            await trouble()
        return await bodies(self, task_key, parts)

    monkeypatch.setattr(BatchFileStore, "bodies", unread)
    bench.model.seconds = 5.0
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(asked) > 3
    bench.check_end(ids(60))
    assert len(bench.model.calls) == 60
    assert bench.batch().task.usage.in_doubt == 0


def test_a_bucket_that_gives_no_answer_costs_no_answer_of_the_model(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While lines are read, outputs wait to be recorded, so a read ends in time for the run to keep its claim."""
    bench.begin(lines(60))
    bench.run()
    read, reads = bench.bound.read, [0]

    async def hung(file: FileKey, name: str, start: int, end: int) -> bytes:
        reads[0] += 1
        if reads[0] == 3:
            await hangs()
        return await read(file, name, start, end)

    monkeypatch.setattr(bench.bound, "read", hung)
    bench.model.seconds = 100.0
    began = bench.loop.time()
    heir = bench.loop.create_task(takes_over(bench, began + 600))
    bench.run()
    assert reads[0] > 3
    assert bench.do(heir) == "held"
    assert bench.batch().task.usage.in_doubt == 0


async def takes_over(bench: BatchBench, at: float) -> str:
    await asyncio.sleep(at - bench.loop.time())
    claim = await bench.store().claim(KEY, holder="heir", host="", route=Route.QUEUE, lease_ms=60_000)
    assert isinstance(claim, Unclaimed)
    return claim.standing.value


@pytest.mark.parametrize(("content", "most"), [(["x" * 600], 6), ([[]] * 150, 1)])
def test_lines_that_take_much_memory_are_not_sent_at_once(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch, content: list[object], most: int
) -> None:
    monkeypatch.setattr(limits, "BATCH_LINES_KEPT_BYTES", 20_000)
    out: list[int] = [0, 0]

    def act(text: str, number: int) -> None:
        out[1] = max(out[1], len(bench.model.calls) - out[0])
        out[0] += 1

    bench.model.act = act
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    bench.begin("".join(line(f"line-{place}", body=body) + "\n" for place in range(12)).encode())
    bench.run_to_end()
    bench.check_end(ids(12))
    assert out == [12, most]


def test_the_error_file_is_written_from_few_refusals_at_a_time(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 5_000)
    answer = (400, {"error": {"message": "x" * 2_000}})
    bench.model.act = lambda text, number: ModelRefused("400", of_call=True, answer=answer) if number % 2 else None
    read: list[int] = []
    refusals = BatchFileStore.refusals

    async def noted(
        self: BatchFileStore, task_key: TaskKey, places: range
    ) -> tuple[Mapping[int, tuple[str, str | None]], int]:
        found = await refusals(self, task_key, places)
        read.append(sum(len(refusal or "") for _, refusal in found[0].values()))
        return found

    monkeypatch.setattr(BatchFileStore, "refusals", noted)
    bench.begin(lines(40))
    bench.run_to_end()
    bench.check_end(ids(40))
    assert [one["response"]["body"] for one in bench.content(ERRORS)] == [answer[1]] * 20
    assert max(read) <= 5_000


def test_parts_have_other_names_after_a_restore_of_the_database(bench: BatchBench) -> None:
    bench.begin(lines(30))
    before = bench.database.snapshot()
    for answer in ("a", "b"):

        def act(text: str, number: int, answer: str = answer) -> str | ModelRefused:
            return answer * 10 if int(text) % 2 else ModelRefused(answer)

        bench.database.restore(before)
        bench.model.act = act
        bench.run_to_end()
        assert bench.batch().ended_at is not None
    of_writers = {name.split("-")[0] for (file, name) in bench.bound.parts if file != INPUT and name.startswith("w")}
    assert of_writers == {"w1"}


def test_a_bucket_that_is_bound_while_a_batch_goes_on_gets_no_part_of_its_files() -> None:
    bench = BatchBench(in_d1=True)
    bench.model.act = lambda text, number: ModelRefused("400", of_call=True) if text.startswith("1") else None
    bench.begin(lines(60))
    bench.run()
    bench.bucket = MemoryBucket(bench.points, 2_000)
    bench.run_to_end()
    bench.check_end(ids(60))
    assert bench.bound.parts.keys() == {(ERRORS, name) for _, name in bench.bound.parts}
    bench.close()


@pytest.mark.parametrize("seconds", [0.0, 4.0])
def test_a_batch_waits_for_a_bucket_that_is_not_bound_any_more(bench: BatchBench, seconds: float) -> None:
    """Its answers stay in the database, although new files would lie there. Once the bucket is back, the batch ends."""
    bucket = bench.bucket
    bench.begin(lines(60))
    bench.run()
    if seconds:
        bench.run(HOST._replace(seconds=seconds))
        assert 0 < len(bench.model.answered) < 60
    bench.bucket = None
    bench.run()
    bench.pass_seconds(WINDOW_MS / 1000)
    for _ in range(5):
        bench.run()
        bench.sweep()
        bench.pass_seconds(61)
    assert bench.batch().status is BatchStatus.FINALIZING
    assert not bench.database.rows("SELECT 1 FROM file_parts")
    assert {entry["error"] for entry in bench.log if entry["event"] == "batch_write_failed"} == {"BucketUnbound"}
    bench.bucket = bucket
    bench.run_to_end()
    bench.check_end(ids(60))
    assert bench.batch().status is BatchStatus.EXPIRED
    assert len(bench.ids(OUTPUT)) == len(bench.model.answered)


def test_a_run_waits_for_the_memory_that_other_runs_hold() -> None:
    bench = BatchBench()
    try:
        bench.begin(lines(6, chars=300))
        memory = MemoryAllowance(1_000)
        worker = bench.worker(memory=memory)

        async def story() -> RunOutcome:
            share = memory.take("run", 1_000)
            assert share is not None
            asyncio.get_running_loop().call_later(5, share.close)
            return await worker.run(KEY, HOST)

        outcome = bench.do(story())
        assert isinstance(outcome, Ended), bench.log
        assert bench.loop.time() >= 5
        assert len(bench.model.calls) == 6
        assert memory.taken == 0
    finally:
        bench.close()


def test_the_input_file_must_be_there_and_for_batches(bench: BatchBench) -> None:
    assert bench.submit() == InputMissing()
    bench.upload(b"x", INPUT, Purpose.USER_DATA)
    assert bench.submit() == InputMissing()
    assert not bench.database.rows("SELECT 1 FROM tasks UNION ALL SELECT 1 FROM batches UNION ALL SELECT 1 FROM texts")
