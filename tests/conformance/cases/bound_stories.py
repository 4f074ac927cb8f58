"""Stories about the limits that a client sets for a task: its deadline, and its number of model calls."""

from src.kernel.domain.errors import StoreError
from src.kernel.domain.task import BUDGET_EXHAUSTED, Failure
from src.kernel.store.claims import CallKey, Continue, Fail, Finish, Release
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, OVERDUE, RETENTION_MS, TASK, Story, made_key, tells

DEADLINE_MS = 1_000_000


@tells(Story)
async def a_deadline_that_passes_under_a_worker(story: Story) -> None:
    store = story.store
    await story.insert(deadline_ms=DEADLINE_MS)
    claim = await story.claim("one")
    assert claim.deadline_left_ms is not None
    assert 0 < claim.deadline_left_ms <= DEADLINE_MS
    assert await store.step(claim, progress(claim, in_flight=[CallKey(0, 0)]), Continue(LEASE_MS))
    left = await store.may_start(TASK, claim.fence)
    assert left is not None
    assert 0 < left <= DEADLINE_MS
    assert await store.settle(claim, progress(claim, in_flight=[CallKey(0, 0)]), OVERDUE, RETENTION_MS) is None
    await story.pass_deadline()
    left = await store.may_start(TASK, claim.fence)
    assert left is not None
    assert left < 0
    paid = progress(claim, outputs=outputs(0, 1, 2), completed=3, calls_settled=3)
    assert not await store.step(claim, paid, Continue(LEASE_MS))
    assert not await store.step(claim, paid, Finish(RETENTION_MS))
    await story.refused("two")
    story.outcomes.append(await store.going_on(TASK))
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))
    assert not await store.step(claim, paid, Finish(RETENTION_MS))
    await story.refused("two")
    story.outcomes += [await store.task(TASK) is not None, await store.chunks(TASK)]
    story.outcomes.append(await store.retry(TASK, LEASE_MS))
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))
    last = await story.claim("three")
    assert last.deadline_left_ms is not None
    assert 0 < last.deadline_left_ms <= DEADLINE_MS  # after a retry the task has its whole deadline again
    assert await store.step(last, progress(last, completed=3), Finish(RETENTION_MS))


@tells(Story)
async def what_the_sweep_does_about_deadlines(story: Story) -> None:
    store = story.store
    waiting, working, released, completed, good = (made_key(at) for at in range(1, 6))
    for key in (waiting, working, released, completed, good):
        await story.insert(key, deadline_ms=DEADLINE_MS)
    claim = await story.claim("one", working)
    idle = await story.claim("two", released)
    assert await store.step(idle, progress(idle), Release(0, 2 * DEADLINE_MS))
    done = await story.claim("three", completed)
    assert await store.step(done, progress(done, outputs=outputs(0, 1, 2), completed=3), Finish(RETENTION_MS))
    await story.note("SELECT id, wake_at <= deadline_at AS in_time FROM tasks WHERE status = 'pending' ORDER BY id")
    await story.alter("UPDATE tasks SET wake_at = 2")
    for key in (waiting, working, released, completed):
        await story.pass_deadline(key)
    due = await store.due(10)
    story.outcomes += [due.overdue, due.idle, due.past_retention, due.live]
    keys = (waiting, working, released, completed, good, made_key(9))
    story.outcomes.append(sorted(await store.expire(keys, OVERDUE, RETENTION_MS)))
    story.outcomes.append(sorted(await store.expire(keys, OVERDUE, RETENTION_MS)))
    story.outcomes.append(await store.take_due(due, LEASE_MS))
    paid = progress(claim, outputs=outputs(0), completed=1, calls_settled=1)
    assert not await store.step(claim, paid, Fail(RETENTION_MS, FAILURE))
    story.outcomes.append(await store.settle(claim, paid, OVERDUE, RETENTION_MS))


@tells(Story)
async def a_budget_of_calls(story: Story) -> None:
    store = story.store
    await story.insert(max_calls=2)
    claim = await story.claim("one", announce=3)
    story.outcomes.append([sorted(claim.announced), claim.options.max_calls])
    one = progress(claim, outputs=outputs(0), completed=1, calls_settled=1, in_flight=[CallKey(0, 1)])
    assert await store.step(claim, one, Continue(LEASE_MS))
    beyond = progress(claim, completed=1, calls_settled=1, in_flight=[CallKey(0, 1), CallKey(0, 2)])
    try:
        await store.step(claim, beyond, Continue(LEASE_MS))
    except StoreError as error:
        story.outcomes.append([type(error).__name__, error])
    two = progress(claim, outputs=outputs(1), completed=2, calls_settled=2)
    spent = Failure(BUDGET_EXHAUSTED, "all calls are spent", retryable=False)
    assert await store.step(claim, two, Fail(RETENTION_MS, spent))
    assert await store.step(claim, two, Fail(RETENTION_MS, spent))
    task = await store.task(TASK)
    assert task is not None
    story.outcomes += [task.failure, task.options.max_calls, await store.chunks(TASK)]
