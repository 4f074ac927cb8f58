"""Stories about a structured task: rejections, gaps, the end with gaps, and what older code cannot do."""

from dataclasses import replace

from src.features.gaps.gap_retries import GapRetryStore
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.structure import Rejection, Structure
from src.kernel.domain.task import Failure, NewTask, Reduce, Route
from src.kernel.store.admission import Conditions
from src.kernel.store.claims import CallKey, Continue, FailedCall, Finish, MergeLevel, Output, Tries
from src.kernel.store.options import AnswerCounts
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, RETENTION_MS, TASK, Story, made_key, new_task, tells

SCHEMA = (
    '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false,"title":"ü"}'
)
INVALID = Failure(TaskCode.INVALID_OUTPUT, "does not fit", True)
REJECTION = Rejection("ü" * 5, (("/a", "a number"),), "stop")


def structured(chunks: int = 3, reduce: Reduce = Reduce.CONCAT) -> NewTask:
    new = new_task(chunks=chunks, reduce=reduce, structure=Structure(has_schema=True, gaps=True))
    return replace(new, output_schema=SCHEMA, join_rules={"/a": "sum"})


def values(*positions: int) -> list[Output]:
    return [output._replace(text=f'{{"a":{output.key.position}}}') for output in outputs(*positions)]


def rejected(position: int, *, final: bool = False) -> FailedCall:
    return FailedCall(CallKey(0, position), Tries(0, 1), final, INVALID, rejection=REJECTION, gap_chars=2)


@tells(Story)
async def a_structured_task_with_a_gap(story: Story) -> None:
    store = story.store
    await store.insert(structured(), 1)
    claim = await story.claim("one")
    story.outcomes += [claim.output_schema, claim.characters, claim.options.structure]
    first = progress(claim, outputs=values(0), failures=[rejected(1)], completed=1, answer_counts=AnswerCounts(0, 1, 0))
    assert await store.step(claim, first, Continue(LEASE_MS))
    assert await store.step(claim, first, Continue(LEASE_MS))
    again = await story.claim("one")
    story.outcomes += [sorted(again.rejections.items()), again.answer_counts, again.chunk_chars]
    counts = AnswerCounts(1, 2, 1, 4 / 6)
    last = progress(
        claim, outputs=values(2), failures=[rejected(1, final=True)], completed=2, failed=1, answer_counts=counts
    )
    assert await store.step(claim, last, Continue(LEASE_MS))
    story.outcomes.append((await story.claim("one")).gaps)
    over = progress(claim, completed=2, failed=1)
    assert not await store.step(claim, over, Finish(RETENTION_MS))
    assert await store.step(claim, over, Finish(RETENTION_MS, gaps=True))
    assert await store.step(claim, over, Finish(RETENTION_MS, gaps=True))
    task = await store.task(TASK)
    assert task is not None
    story.outcomes += [
        task.gaps,
        task.coverage,
        task.usage,
        task.source,
        task.result,
        task.value,
        await store.chunks(TASK),
    ]
    await story.note("SELECT input, join_rules FROM texts")


@tells(Story)
async def a_structured_merge_with_a_gap(story: Story) -> None:
    store = story.store
    await store.insert(structured(reduce=Reduce.MERGE), 1)
    claim = await story.claim("one")
    facts = {"completed": 2, "failed": 1}
    done = progress(claim, outputs=outputs(1, 2), failures=[rejected(0, final=True)], **facts)
    assert await store.step(claim, done, Continue(LEASE_MS))
    story.outcomes.append(sorted((await store.level_sizes(TASK, 0)).items()))
    assert await store.step(claim, progress(claim, merges=[MergeLevel(1, (3,))], **facts), Continue(LEASE_MS))
    assert not await store.step(claim, progress(claim, **facts), Finish(RETENTION_MS, 1, gaps=True))
    merged = progress(claim, outputs=outputs(0, level=1), **facts)
    assert await store.step(claim, merged, Finish(RETENTION_MS, 1, gaps=True))


@tells(Story)
async def a_task_without_any_output_does_not_complete(story: Story) -> None:
    store = story.store
    await store.insert(structured(1), 1)
    claim = await story.claim("one")
    gone = progress(claim, failures=[rejected(0, final=True)], failed=1)
    assert not await store.step(claim, gone, Finish(RETENTION_MS, gaps=True))


@tells(Story)
async def older_code_claims_no_structured_task(story: Story) -> None:
    store = story.store
    await store.insert(structured(), 1)
    await story.claim("one", lease_ms=0)
    assert not await store.dead_letter(TASK, FAILURE, RETENTION_MS)
    older = "UPDATE tasks SET {}, fence = fence + 1 WHERE id = ?1"
    for change in ("holder = 'older'", "status = 'failed', error_code = 'dead_lettered', finished_at = 1"):
        try:
            await story.alter(older.format(change), TASK)
        except Exception as error:  # noqa: BLE001 - each side raises errors of its own
            story.outcomes.append("CHECK constraint failed" in str(error))
        else:
            raise AssertionError(change)
    await story.alter("UPDATE tasks SET status = 'pending', fence = fence + 1, lease_until = NULL WHERE id = ?1", TASK)
    story.outcomes.append((await story.claim("two")).fence)


@tells(Story)
async def gaps_retried_as_a_new_task(story: Story) -> None:
    store = story.store
    await store.insert(structured(4, Reduce.MERGE), 1)
    claim = await story.claim("one")
    facts = {"completed": 3, "failed": 1}
    done = progress(claim, outputs=outputs(1, 2, 3), failures=[rejected(0, final=True)], **facts)
    assert await store.step(claim, done, Continue(LEASE_MS))
    planned = [MergeLevel(1, (2, 4)), MergeLevel(2, (2,))]
    merged = progress(claim, outputs=outputs(0, 1, level=1), merges=planned, **facts)
    assert await store.step(claim, merged, Continue(LEASE_MS))
    top = progress(claim, outputs=outputs(0, level=2), **facts)
    assert await store.step(claim, top, Finish(RETENTION_MS, 2, gaps=True))
    gaps = store.beside(GapRetryStore)
    plan = await gaps.plan_gap_retry(TASK)
    assert plan is not None
    copied = [(piece.level, piece.places, piece.sizes) for piece in plan.merged]
    story.outcomes += [plan.minimum_calls, plan.inherited, copied]
    on = Conditions(idempotency_key=" gaps of it", digest="it")
    for key in (made_key(2), made_key(2), made_key(3)):
        write = gaps.retry_gaps(plan, key, route=Route.QUEUE, created_at=2, unclaimed_ms=1, on=on)
        story.outcomes.append(await write)
    heir = await story.claim("two", made_key(2), announce=6)
    story.outcomes += [sorted(heir.outputs), heir.announced, heir.inherited]
