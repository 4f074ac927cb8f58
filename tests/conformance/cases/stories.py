"""Stories about a task under its workers, from the submission to the end."""

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from src.kernel.calls.model_health import LatestCall
from src.kernel.domain.task import Reduce
from src.kernel.store.claims import CallKey, Continue, Fail, Finish, MergeLevel, Output, Release, SharedCalls
from src.kernel.store.views import TooMuchAtOnce
from tests.conformance.cases.registry import worker_case
from tests.conformance.cases.steps import FAILURE, failures, outputs, progress
from tests.conformance.cases.storyteller import (
    LEASE_MS,
    OVERDUE,
    RETENTION_MS,
    TASK,
    Story,
    limited,
    made_key,
    new_task,
    tells,
)


@tells(Story)
async def a_task_from_submit_to_completed(story: Story) -> None:
    store = story.store
    await store.ready()
    await story.insert()
    await story.insert()
    claim = await story.claim("one")
    await story.claim("one")
    await story.refused("two")
    story.outcomes.append(await store.going_on(TASK))
    in_flight = [CallKey(0, 0), CallKey(0, 1)]
    assert await store.step(claim, progress(claim, in_flight=in_flight), Continue(LEASE_MS))
    story.outcomes.append(await store.may_start(TASK, claim.fence))
    done = progress(claim, outputs=outputs(0, 1), failures=failures(2), completed=2, calls_settled=3)
    assert await store.step(claim, done, Continue(LEASE_MS))
    assert await store.step(claim, done, Continue(LEASE_MS))
    assert not await store.step(claim, progress(claim, completed=2), Finish(RETENTION_MS))
    everything = progress(claim, outputs=outputs(2), completed=3, calls_settled=4)
    assert await store.step(claim, everything, Finish(RETENTION_MS))
    assert await store.step(claim, everything, Finish(RETENTION_MS))
    story.outcomes.append(await store.may_start(TASK, claim.fence))
    task = await store.task(TASK)
    assert task is not None
    story.outcomes += [task.result, await store.chunks(TASK), await store.going_on(TASK)]


@tells(Story)
async def what_isolates_tell_each_other_of_a_model(story: Story) -> None:
    store = story.store
    await story.insert()
    claim = await story.claim("one")
    told = SharedCalls((LatestCall(2, 200, False), LatestCall(1, 100, True)), 200)
    later = SharedCalls((LatestCall(3, 300, True), LatestCall(2, 250, True), LatestCall(1, 50, False)), 190)
    for each in (told, later, told):  # the last report repeats the first report late
        assert await store.step(claim, progress(claim, shared=each), Continue(LEASE_MS), model="m")
        story.outcomes.append(await store.shared_calls(TASK, "m"))
    story.outcomes.append(await store.shared_calls(TASK, "another"))


@worker_case
async def rows_read_by_a_claim(env: Any) -> Any:
    story = Story(env)
    await story.insert()
    await story.claim("one")
    return story.recorder.rows_read


@tells(Story)
async def a_task_taken_over_released_and_failed(story: Story) -> None:
    store = story.store
    await story.insert()
    zombie = await story.claim("one", lease_ms=0, announce=2)
    assert await store.step(zombie, progress(zombie, in_flight=[CallKey(0, 0)]), Continue(0))
    heir = await story.claim("two", host="host")
    assert heir.calls_in_doubt == 1
    assert await store.may_start(TASK, zombie.fence) is None
    assert not await store.step(zombie, progress(zombie, outputs=outputs(0), completed=1), Finish(RETENTION_MS))
    again = await story.claim("three", host="host")
    released = progress(again, outputs=outputs(1), completed=1)
    assert await store.step(again, released, Release(0, 0))
    assert await store.step(again, released, Release(0, 0))
    assert not await store.dead_letter(made_key(2), FAILURE, RETENTION_MS)
    last = await story.claim("four")
    assert not await store.dead_letter(TASK, FAILURE, RETENTION_MS)
    failed = progress(last, failures=failures(0, final=True), completed=1, failed=1)
    assert await store.step(last, failed, Fail(RETENTION_MS, FAILURE))
    await story.refused("five")
    story.outcomes += [await store.chunks(TASK), await store.retry(TASK, LEASE_MS), await store.retry(TASK, LEASE_MS)]
    story.outcomes += [await story.cancel(), await story.cancel(), await story.erase(), await story.erase()]
    await story.refused("six")


@tells(Story)
async def a_task_cancelled_under_its_worker(story: Story) -> None:
    store = story.store
    await story.insert()
    claim = await story.claim("one")
    assert await store.step(claim, progress(claim, in_flight=[CallKey(0, 0)]), Continue(LEASE_MS))
    assert await store.settle(claim, progress(claim), OVERDUE, RETENTION_MS) is None
    assert await story.cancel()
    paid = progress(claim, outputs=outputs(0), completed=1, calls_settled=1)
    assert not await store.step(claim, paid, Continue(LEASE_MS))
    assert await store.may_start(TASK, claim.fence) is None
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))
    story.outcomes.append(await store.retry(TASK, LEASE_MS))
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))


@tells(Story)
async def a_merge_and_its_levels(story: Story) -> None:
    store = story.store
    await story.insert(reduce=Reduce.MERGE)
    claim = await story.claim("one")
    chunks = progress(claim, outputs=outputs(0, 1, 2), completed=3, calls_settled=3)
    assert await store.step(claim, chunks, Continue(LEASE_MS))
    story.outcomes.append(sorted((await store.level_sizes(TASK, 0)).items()))
    story.outcomes.append(sorted((await store.level_outputs(TASK, 0, 0, 1)).items()))
    planned = progress(claim, merges=[MergeLevel(1, (3,))], completed=3, calls_settled=3, calls_minimum=4)
    assert await store.step(claim, planned, Continue(LEASE_MS))
    assert await store.step(claim, planned, Continue(LEASE_MS))
    again = await story.claim("one")
    story.outcomes += [again.merges, again.merge_ends]
    merged = progress(claim, outputs=outputs(0, level=1), completed=3, calls_settled=4, calls_minimum=4)
    assert not await store.step(claim, progress(claim, completed=3), Finish(RETENTION_MS, 1))
    assert await store.step(claim, merged, Finish(RETENTION_MS, 1))
    task = await store.task(TASK)
    assert task is not None
    story.outcomes.append(task.result)


@tells(Story)
async def a_task_with_outputs_of_two_workers(story: Story) -> None:
    store = story.store
    await story.insert(chunks=4)
    claim = await story.claim("one", lease_ms=0)
    assert await store.step(claim, progress(claim, outputs=outputs(0, 2), completed=2), Continue(0))
    heir = await story.claim("two")
    story.outcomes.append(sorted(heir.outputs))
    third = [Output(CallKey(0, 3), "漢 " * 3 + "\0ü", 2, "stop", 1_800_000_000_000, 1_800_000_000_999)]
    assert await store.step(heir, progress(heir, outputs=third, completed=3), Continue(LEASE_MS))
    late = progress(heir, outputs=outputs(1), completed=4)
    assert await store.step(heir, late, Finish(RETENTION_MS))
    assert await store.step(heir, late, Finish(RETENTION_MS))
    task = await store.task(TASK)
    assert task is not None
    story.outcomes += [
        task.result,
        await store.chunks(TASK),
        sorted((await store.level_outputs(TASK, 0, 0, 99)).items()),
    ]
    await story.note("SELECT level, part, places, typeof(body) AS body FROM segments")
    await story.note("SELECT input FROM texts")


@tells(Story)
async def a_text_read_by_windows(story: Story) -> None:
    """Windows count code points beyond the basic plane. A worker without its claim reads no text."""
    store = story.store
    text = "ab漢字\U0001f600é\n\U0001d4b3\u0301z"
    new = new_task(TASK, 5, Reduce.CONCAT)
    await store.insert(replace(new, text=text, cuts=(2, 4, 5, 8, 10), overlap=1), 1)
    claim = await story.claim("one", announce=1, chunks=2)
    story.outcomes.append(claim.window)
    for first in range(5):
        story.outcomes.append(await store.window(TASK, claim.fence, first, 2))
    assert await store.window(TASK, claim.fence + 1, 0, 2) is None
    done = progress(claim, outputs=outputs(0, 1, 3), failures=failures(2, final=True), completed=3, failed=1)
    assert await store.step(claim, done, Release(0, 0))
    index = await store.chunk_index(TASK)
    assert index is not None
    story.outcomes += [sorted(index.sizes.items()), await store.some_chunks(index, range(1, 3))]
    with limited("ANSWER_CHARS_AT_ONCE", 20):
        story.outcomes.append(list(index.pages()))
        with suppress(TooMuchAtOnce):
            story.outcomes.append(await store.chunks(TASK))


@worker_case
async def outputs_too_large_for_one_parameter(env: Any) -> Any:
    story = Story(env)
    await story.insert()
    claim = await story.claim("one")
    random = Random(1)
    large = [
        Output(CallKey(0, position), "".join(map(chr, random.choices(range(0x4E00, 0x9FFF), k=290_000))), 1)
        for position in range(3)
    ]
    done = progress(claim, outputs=large, completed=3)
    assert await story.store.step(claim, done, Finish(RETENTION_MS))
    task = await story.store.task(TASK)
    assert task is not None
    return [[[name, changes, written] for name, _, changes, written in story.recorder.log], len(str(task.result))]
