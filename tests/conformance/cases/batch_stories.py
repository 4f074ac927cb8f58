"""Stories about a batch: its submission, the reading of its input, its lines, and the writing of its files."""

from dataclasses import replace
from typing import Any

from src.features.batches.lines.line_index import portion_of
from src.features.batches.store.batch_files import GROW, SEGMENTS, BatchFileStore, moving
from src.features.batches.store.batches import BatchStore, NewBatch, found_valid, read_on
from src.features.files.file import FilePart, Purpose
from src.features.files.sql import FILE_WORK
from src.features.operate.tallies import TallyStore
from src.kernel.domain import limits
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.domain.task import Reduce
from src.kernel.store.claims import (
    NOTHING_ELSE,
    Also,
    CallKey,
    Claim,
    Continue,
    Fail,
    FailedCall,
    Finish,
    Output,
    Release,
    Tries,
)
from tests.conformance.cases.registry import show
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, RETENTION_MS, TASK, Story, limited, made_key, new_task, tells

INPUT, OUTPUT, ERRORS = (FileKey(made_key(number)) for number in (7, 8, 9))
WINDOW_MS = 86_400_000
TOTAL = 5
SLICES = (
    portion_of(0, [(0, 10, 2**64 - 1), (11, 300, 1)]),
    portion_of(2, [(301, 310, 2), (311, 320, 3), (321, 330, 4)]),
)
READ_BYTES = (300, 330)  # up to the end of each slice
LINES = "SELECT part, object, places, sizes, length(body) AS bytes FROM segments ORDER BY part"
FILES = "SELECT id, state, purpose, filename, parts, bytes, owner FROM files ORDER BY id"


class _Batch(Story):
    """A story that also uses the stores of batches."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.rows = self.store.beside(BatchStore)
        self.lines = self.store.beside(BatchFileStore)

    async def upload(self) -> None:
        await self.files.begin(INPUT, 1)
        await self.files.ready(
            INPUT, purpose=Purpose.BATCH, filename="in", parts=[FilePart("0", 330)], keeps_ms=None, use_most=1000
        )

    async def submit(self, key: TaskKey = TASK) -> Any:
        task = new_task(key, 0, Reduce.NONE, deadline_ms=WINDOW_MS)
        new = NewBatch(
            task=replace(task, text="", instructions=""),
            endpoint="/v1/chat/completions",
            input_file=INPUT,
            output_file=OUTPUT,
            error_file=ERRORS,
            input_bytes=330,
            output_ms=RETENTION_MS,
            retry_of=TaskKey("other") if key == TASK else None,
        )
        return await self.rows.submit(new, 1)

    async def write(self, claim: Claim, also: Also = NOTHING_ELSE, **changes: Any) -> bool:
        chars = limits.SEGMENT_CHARS_OF_BATCH
        made = progress(claim, **{"calls_minimum": TOTAL, "segment_chars": chars, **changes})
        first = await self.store.step(claim, made, Continue(LEASE_MS), also=also)
        assert await self.store.step(claim, made, Continue(LEASE_MS), also=also) == first
        return first

    async def begun(self) -> Claim:
        await self.upload()
        await self.submit()
        claim = await self.claim("one")
        for number in range(len(SLICES)):
            await self.write(claim, _reading(number))
        await self.write(claim, Also(_valid))
        return await self.claim("one")


def _reading(number: int) -> Also:
    found = SLICES[number]
    return Also(
        lambda under: read_on(
            under,
            READ_BYTES[number - 1] if number else 0,
            read_bytes=READ_BYTES[number],
            read_lines=found.first + len(found.spans),
            model="m" if number == 0 else None,
            faults=[],
            found=found,
        )
    )


def _valid(under: Any) -> Any:
    return found_valid(under, TOTAL, "m", "out.jsonl", "d1")


def _refused(position: int, refusal: str | None = None) -> FailedCall:
    key = CallKey(0, position)
    return FailedCall(key, Tries(1, 1), True, FAILURE, gap_chars=0, provider_answer=refusal)


def _lines(*positions: int) -> list[Output]:
    return [output._replace(text=f"{output.key.position:050}") for output in outputs(*positions)]


@tells(_Batch)
async def a_batch_is_submitted_and_its_input_read(story: _Batch) -> None:
    story.outcomes.append(await story.submit())  # the input file does not exist yet
    await story.upload()
    story.outcomes += [await story.submit(), await story.submit()]
    claim = await story.claim("one", announce=2)
    story.outcomes += [claim.kind, claim.total, sorted(claim.announced)]
    assert await story.write(claim, _reading(0))
    lost = replace(claim, fence=claim.fence + 1)
    assert not await story.write(lost, _reading(1))
    assert await story.write(claim, _reading(1))
    assert await story.write(claim, _reading(0))  # a late write changes nothing
    await story.note("SELECT read_bytes, read_lines, model, errors, valid_at FROM batches")
    assert not await story.write(lost, Also(_valid))
    assert await story.write(claim, Also(_valid))
    story.outcomes += [await story.rows.work(TASK), await story.rows.checked(TASK)]
    await story.note(FILES)
    await story.note("SELECT total, model FROM tasks")
    batch = await story.rows.batch(TASK)
    assert batch is not None
    story.outcomes += [batch.status, batch.counts, batch.has_output_file]
    listed = [story.rows.batches("local", after, 9) for after in (None, made_key(2), TASK)]
    story.outcomes += [[one.task.task_key for one in await page] for page in listed]


@tells(_Batch)
async def the_output_file_of_a_batch_grows(story: _Batch) -> None:
    claim = await story.begun()
    heard: list[Any] = []
    with limited("SEGMENT_CHARS_OF_BATCH", 60):
        for place in (1, 0, 3):
            asking = Also(asks=SEGMENTS.bind(task_key=TASK), hears=heard.append)
            assert await story.write(claim, asking, outputs=_lines(place), completed=1, calls_settled=1)
        await story.note(LINES)
        story.outcomes += [show([list(rows) for rows in heard]), await story.lines.waiting(TASK)]
        story.outcomes.append(await story.lines.bodies(TASK, range(2)))
        added = [FilePart("c1-0-0", 60), FilePart("c1-0-1", 42)]
        grow = Also(lambda under: moving(GROW, TASK, OUTPUT, range(1), added, under))
        lost = replace(claim, fence=claim.fence + 1)
        assert not await story.write(lost, grow)
        assert await story.write(claim, grow, outputs=_lines(2), completed=4)
        more = Also(lambda under: moving(GROW, TASK, OUTPUT, range(1, 2), [FilePart("c1-1-0", 51)], under))
        assert await story.write(claim, more, completed=4)
    await story.note(LINES)
    await story.note(FILES)
    await story.note("SELECT tenant, bytes FROM file_use")
    story.outcomes += [await story.lines.lines(TASK), await story.lines.bodies(TASK, range(9))]


@tells(_Batch)
async def a_batch_ends_and_its_files_are_completed(story: _Batch) -> None:
    claim = await story.begun()
    refused = [_refused(1, '{"status":400,"body":{"error":"ü"}}'), _refused(3)]
    assert await story.write(claim, outputs=_lines(0), failures=refused[:1], completed=1, failed=1, calls_settled=2)
    again = await story.claim("one")
    story.outcomes += [sorted(again.outputs), sorted(again.left_out), again.failed_for_good]
    facts = {"calls_minimum": TOTAL, "completed": 3, "failed": 2, "calls_settled": 5}
    facts["segment_chars"] = limits.SEGMENT_CHARS_OF_BATCH
    ending = Finish(RETENTION_MS, gaps=True, may_be_empty=True)
    assert not await story.store.step(claim, progress(claim, **facts), ending)
    assert await story.lines.take(TASK, "another", LEASE_MS) is None  # the task goes on
    asked = FILE_WORK.bind(apart_ms=3_600_000, most=9, claim_ms=LEASE_MS)
    ((work,),) = (await story.store.due(9, looks=[asked])).looked
    story.outcomes += [work["wanted"], work["unwritten"]]
    story.outcomes.append(await story.lines.unwritten(9, LEASE_MS))
    done = progress(claim, outputs=_lines(2, 4), failures=refused[1:], **facts)
    with limited("PIECE_BYTES_MOST", 60):  # each line is a piece of its own
        assert await story.store.step(claim, done, ending)
        assert await story.store.step(claim, done, ending)
    story.outcomes += [await story.lines.unwritten(9, LEASE_MS), await story.lines.unanswered(TASK)]
    first = await story.lines.take(TASK, "first", LEASE_MS)
    assert first is not None
    story.outcomes += [first, await story.lines.take(TASK, "another", LEASE_MS), await story.lines.complete(first)]
    await story.lines.give_back(first)
    of = await story.lines.take(TASK, "another", LEASE_MS)
    assert of is not None
    parts = [FilePart("w2-0-0", 153)]
    story.outcomes += [await story.lines.move(first, range(1), parts), await story.lines.move(of, range(1), parts)]
    story.outcomes.append(await story.lines.move(of, range(1), parts))  # a repetition
    await story.note(LINES)
    failures, behind = await story.lines.refusals(TASK, range(4))
    story.outcomes += [sorted(failures.items()), behind]
    for writer, places in ((first, range(2)), (of, range(2)), (of, range(2)), (of, range(2, 4))):
        error = [FilePart(f"w2-e{places.start}", 20)]
        story.outcomes.append(await story.lines.add_errors(writer, places, error, lines=1, shelf="d1"))
    story.outcomes += [await story.lines.complete(of)]  # one of the batch's places is not written yet
    story.outcomes.append(await story.lines.add_errors(of, range(4, 5), [], lines=0, shelf="d1"))
    story.outcomes += [await story.lines.complete(of), await story.lines.complete(of)]
    await story.note(FILES)
    await story.note("SELECT writer_fence, written_places, output_lines, error_lines FROM batches")
    batch = await story.rows.batch(TASK)
    assert batch is not None
    story.outcomes += [batch.status, batch.counts, await story.files.delete(OUTPUT), await story.erase()]
    await story.note("SELECT count(*) AS rows FROM batches, batch_slices")


@tells(_Batch)
async def a_batch_without_an_answer_has_no_output_file(story: _Batch) -> None:
    claim = await story.begun()
    assert await story.write(claim, in_flight=[CallKey(0, 0)])
    assert await story.cancel()
    # a call that is out may still record its output
    story.outcomes.append(await story.lines.take(TASK, "another", LEASE_MS))
    of = await story.lines.take(TASK, "another", 0)
    assert of is not None
    story.outcomes.append(of.answered)
    late = progress(claim, outputs=_lines(0), completed=1, calls_settled=1)
    assert not await story.store.step(claim, late, Release(0, 0))
    await story.note(LINES)
    error = [FilePart("w1-e0", 100)]
    story.outcomes += [await story.lines.add_errors(of, range(TOTAL), error, lines=TOTAL, shelf="d1")]
    story.outcomes.append(await story.lines.complete(of))
    await story.note(FILES)


@tells(_Batch)
async def a_batch_with_an_invalid_line_fails(story: _Batch) -> None:
    await story.upload()
    await story.submit()
    claim = await story.claim("one")
    fault = {"code": "invalid_json_line", "line": 1, "message": "ü", "param": None}
    read = Also(lambda under: read_on(under, 0, read_bytes=330, read_lines=1, model=None, faults=[fault], found=None))
    assert await story.store.step(claim, progress(claim), Fail(RETENTION_MS, FAILURE), also=read)
    of = await story.lines.take(TASK, "another", LEASE_MS)
    assert of is not None
    story.outcomes += [of.is_valid, await story.lines.complete(of)]
    batch = await story.rows.batch(TASK)
    assert batch is not None
    story.outcomes += [batch.status, batch.errors, batch.has_output_file, batch.has_error_file]
    await story.note(FILES)


@tells(_Batch)
async def files_and_batches_of_all_tenants_are_found(story: _Batch) -> None:
    await story.upload()
    await story.submit()
    tallies = story.store.beside(TallyStore)
    for key in (INPUT, OUTPUT):
        digits = key.partition(":")[2]
        story.outcomes += [await story.files.of_some_tenant(digits), await story.rows.of_some_tenant(digits)]
    listed = story.files.files(None, purpose=None, after=None, most=9, newest_first=True)
    story.outcomes += [await story.rows.of_some_tenant(TASK.partition(":")[2]), len(await listed)]
    story.outcomes += [len(await story.rows.batches(None, after, 9)) for after in (None, TASK)]
    story.outcomes.append(await tallies.unreachable(9))
    await story.alter("UPDATE files SET place = 'r2'")
    story.outcomes += [await tallies.unreachable(9), await tallies.unreachable(0), await tallies.incomplete()]
