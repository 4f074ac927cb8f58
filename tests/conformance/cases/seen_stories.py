"""Stories about the records of triggers, about turns, and about who sends a late task to its route again."""

from src.kernel.domain.task import Route
from src.kernel.store.claims import Claim
from src.kernel.store.seen import Seen
from tests.conformance.cases.storyteller import LEASE_MS, TASK, Story, made_key, tells

HOUR_MS = 3_600_000


@tells(Story)
async def triggers_are_noted_and_turns_taken(story: Story) -> None:
    store = story.store
    for key in (made_key(1), made_key(2)):
        await story.insert(key)
        claim = await store.claim(
            key, holder="one", host="", route=Route.QUEUE, lease_ms=LEASE_MS, seen=Seen.QUEUE, stands_in=True
        )
        assert isinstance(claim, Claim)
    await story.insert(made_key(3))
    await store.due(10)
    for what in (Seen.ASKED, Seen.ASKED, Seen.SWEEP):
        story.outcomes.append(await store.take_permit(what, 3600) > 0)
    await story.alter("UPDATE seen SET at = at - ?1", HOUR_MS)
    for what in (Seen.ASKED, Seen.SWEEP):
        story.outcomes.append(await store.take_permit(what, 3600) > 0)
    # The row in `seen` seems to come from a clock that was an hour ahead.
    await story.alter("UPDATE seen SET at = at + ?1 WHERE what = 'asked'", HOUR_MS)
    story.outcomes.append(await store.take_permit(Seen.ASKED, 3600) > 0)
    times, backlog = await store.outlook()
    story.outcomes += [sorted(times), backlog.pending, backlog.processing, (backlog.oldest_ms or 0) > HOUR_MS]


@tells(Story)
async def a_late_task_is_sent_off_once_a_minute(story: Story) -> None:
    store = story.store
    await story.insert()

    async def look() -> None:
        task = await store.task(TASK)
        assert task is not None
        story.outcomes += [task.late, task.unanswered, await store.nudge(TASK, LEASE_MS)]

    await look()
    await story.alter("UPDATE tasks SET wake_at = wake_at - ?1", HOUR_MS)
    for _ in range(3):
        await look()
        await look()
        await story.alter("UPDATE tasks SET sent_at = sent_at - ?1", HOUR_MS)
    await story.claim("one", lease_ms=0)
    await look()
    await story.alter("UPDATE tasks SET wake_at = wake_at - ?1, lease_until = lease_until - ?1", HOUR_MS)
    await look()
    await store.unsent(TASK)
    story.outcomes.append((await store.due(10)).looked_at)
