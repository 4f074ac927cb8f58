"""Stories in which many tasks are retried, cancelled or erased early at once, and a claim reserves storage."""

from dataclasses import replace

from src.kernel.domain import limits
from src.kernel.domain.task import Status
from src.kernel.store.admission import Conditions
from src.kernel.store.claims import Continue, Fail, Finish, Release
from src.kernel.store.rows import Span
from tests.conformance.cases.steps import FAILURE, failures, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, RETENTION_MS, TASK, Story, limited, made_key, tells

ALL = Span("local:", "local:~")
ON = Conditions(tasks_in_flight_most=9)
STATES = "SELECT id, status, generation, failed FROM tasks ORDER BY id"


async def _failed(story: Story, *numbers: int) -> None:
    for number in numbers:
        key = made_key(number)
        await story.insert(key)
        claim = await story.claim("one", key)
        begun = progress(claim, outputs=outputs(0), failures=failures(1, final=True), completed=1, failed=1)
        assert await story.store.step(claim, begun, Fail(RETENTION_MS, FAILURE))


@tells(Story)
async def failed_tasks_put_back_together(story: Story) -> None:
    await _failed(story, 1, 2, 3)
    story.outcomes.append(await story.bulk.retry_cost(ALL, None, 3))
    found = await story.bulk.failed("local", ALL, None, 2, ON)
    story.outcomes.append(found)
    assert await story.store.retry(made_key(1), LEASE_MS)  # another request retries this task first
    story.outcomes.append(await story.bulk.retry_all("local", found.generations, LEASE_MS, ON))
    story.outcomes.append(await story.bulk.retry_all("local", found.generations, LEASE_MS, ON))  # a repetition
    full = Conditions(tasks_in_flight_most=2)
    rest = await story.bulk.failed("local", ALL, None, 9, full)
    story.outcomes.append(await story.bulk.retry_all("local", rest.generations, LEASE_MS, full))
    await story.note(STATES)


@tells(Story)
async def tasks_cancelled_together(story: Story) -> None:
    for number in (1, 2, 3):
        await story.insert(made_key(number))
    claim = await story.claim("one", made_key(2))
    story.outcomes.append(await story.bulk.count_going_on("local", ALL, None))
    found = await story.bulk.going_on_in("local", ALL, Status.PENDING, 9)
    story.outcomes.append(found)
    assert await story.cancel(made_key(1))
    done = await story.bulk.cancel_all(found, Status.PENDING, RETENTION_MS)
    story.outcomes.append(done.task_keys)
    everything = await story.bulk.going_on_in("local", ALL, None, 9)
    story.outcomes.append((await story.bulk.cancel_all(everything, None, RETENTION_MS)).task_keys)
    assert not await story.store.step(claim, progress(claim, outputs=outputs(0), completed=1), Continue(LEASE_MS))
    await story.note(STATES)


@tells(Story)
async def old_tasks_of_the_largest_tenant_erased_early(story: Story) -> None:
    story.outcomes.append(await story.store.oldest_of_largest(9))  # the stored bytes have not been counted yet
    for number in (1, 2, 3):
        key = made_key(number)
        await story.insert(key)
        claim = await story.claim("one", key)
        done = progress(claim, outputs=outputs(0, 1, 2), completed=3, output_tokens=1_000)
        assert await story.store.step(claim, done, Finish(RETENTION_MS))
    await story.insert(made_key(9, "other"))
    await story.store.count_storage(keep_input=False)
    await story.note("SELECT tenant, bytes FROM tenant_storage ORDER BY tenant")
    young = await story.store.oldest_of_largest(9)
    assert young is not None
    story.outcomes.append(young.task_keys)
    day_ms = round(limits.KEPT_SECONDS_LEAST * 1000)
    await story.alter("UPDATE tasks SET finished_at = finished_at - ?1 WHERE id < ?2", day_ms, made_key(3))
    found = await story.store.oldest_of_largest(9)
    assert found is not None
    story.outcomes.append(found.task_keys)
    await story.alter("UPDATE tasks SET finished_at = finished_at + ?1 WHERE id = ?2", day_ms, made_key(2))
    more = replace(found, task_keys=[*found.task_keys, made_key(3)])
    story.outcomes.append(await story.store.erase_early(more, keep_input=False))
    story.outcomes.append(await story.store.erase_early(found, keep_input=False))  # a repetition
    await story.note("SELECT tenant, bytes FROM tenant_storage ORDER BY tenant")
    await story.note(STATES)
    with limited("CLEAR_WALK_MOST", 1):  # one call passes over a task, and a later call reaches the end of the walk
        for _ in range(3):
            walk = await story.store.oldest_of_largest(9)
            assert walk is not None
            story.outcomes.append(await story.store.erase_early(walk, keep_input=False))
            await story.note("SELECT tenant, walked_to FROM tenant_storage ORDER BY tenant")


@tells(Story)
async def room_found_and_a_claim_that_stands_down(story: Story) -> None:
    await story.insert()
    story.outcomes.append(await story.store.input(TASK))
    with limited("PIECE_BYTES_MOST", 100):
        claim = await story.claim("one")
        begun = progress(claim, outputs=outputs(0), completed=1)
        assert await story.store.step(claim, begun, Continue(LEASE_MS, room_bytes=50_000))
    story.outcomes.append(await story.store.stand_down(claim, progress(claim), Release(1_000, 2_000)))
    story.outcomes.append(await story.store.stand_down(claim, progress(claim), Release(1_000, 2_000)))
    await story.note("SELECT status, stalls, completed, in_flight, wait_reason FROM tasks")
