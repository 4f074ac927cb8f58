"""Stories about submissions with conditions: idempotency keys, a tenant's limits, and withdrawn tasks."""

from src.kernel.domain.task import NewTask
from src.kernel.store.admission import Accepted, Conditions, Outcome
from src.kernel.store.claims import Continue, Finish
from src.kernel.store.resend import Resend
from tests.conformance.cases.steps import failures, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, Story, made_key, new_task, tells

# The conditions count all unfinished tasks, because the number of due tasks would depend on the machine's speed.
THIS = Conditions(idempotency_key="key ü", digest="this")
THAT = Conditions(idempotency_key="key ü", digest="that")
SUBMISSIONS = "SELECT id, task_id, digest, replayed FROM submissions ORDER BY id"
CHARACTERS = "SELECT tenant, characters FROM daily_use ORDER BY tenant"
PARTS = """
SELECT (SELECT count(*) FROM tasks) AS tasks, (SELECT count(*) FROM texts) AS texts,
  (SELECT count(*) FROM segments) AS segments, (SELECT count(*) FROM failures) AS failures,
  (SELECT count(*) FROM submissions) AS submissions
"""


class Submissions(Story):
    """A story that submits tasks by number, and records the outcome of each submission."""

    async def submit(self, at: int, on: Conditions, tenant: str = "local") -> Outcome:
        outcome = await self.store.insert(_task(at, tenant), 1, on)
        self.outcomes.append(outcome)
        return outcome


def _task(at: int, tenant: str = "local") -> NewTask:
    return new_task(made_key(at, tenant))


@tells(Submissions)
async def an_idempotency_key_taken_replayed_and_mismatched(story: Submissions) -> None:
    for at, on in ((1, THIS), (1, THIS), (2, THIS), (3, THAT), (4, THIS)):
        await story.submit(at, on)
    await story.submit(5, THAT, "other")
    await story.note(SUBMISSIONS)
    assert await story.erase(made_key(1))
    await story.submit(6, THAT)
    await story.note(SUBMISSIONS)
    await story.note(PARTS)


@tells(Submissions)
async def an_idempotency_key_after_its_time(story: Submissions) -> None:
    await story.submit(1, THIS)
    await story.submit(2, THIS)
    await story.alter("UPDATE submissions SET expires_at = 1")
    await story.submit(1, THIS)  # the first request arrives again late, and its key still belongs to its task
    await story.submit(3, THAT)
    await story.note(SUBMISSIONS)
    assert await story.erase(made_key(1))
    await story.submit(4, THAT)
    await story.note(SUBMISSIONS)
    claim = await story.claim("one", made_key(3))
    done = progress(claim, outputs=outputs(0, 1, 2), completed=3)
    assert await story.store.step(claim, done, Finish(-1))
    due = await story.store.due(10)
    story.outcomes.append(await story.store.take_due(due, LEASE_MS))
    story.outcomes.append(await story.store.erase_expired(due))
    await story.note(SUBMISSIONS)


@tells(Submissions)
async def a_submission_withdrawn(story: Submissions) -> None:
    on = Conditions(idempotency_key="key", digest="this", characters_a_day_most=12)
    await story.submit(1, on)
    claim = await story.claim("one", made_key(1))
    begun = progress(claim, outputs=outputs(0), failures=failures(1), completed=1)
    assert await story.store.step(claim, begun, Continue(LEASE_MS))
    await story.note(PARTS)
    await story.store.withdraw(_task(1), on)
    await story.store.withdraw(_task(1), on)
    await story.note(PARTS)
    await story.note(CHARACTERS)
    await story.submit(2, on)
    await story.submit(3, on)
    assert await story.store.key_holder(made_key(3), on)
    await story.store.withdraw(_task(2), on)  # the second task stays, because the third request was answered with it
    await story.store.withdraw(_task(3), on)
    await story.note(SUBMISSIONS)
    await story.note(CHARACTERS)
    await story.insert(made_key(4))
    await story.store.withdraw(_task(4))
    await story.note(PARTS)


@tells(Submissions)
async def a_submission_that_is_sent_again_by_itself(story: Submissions) -> None:
    first, second, third = (Conditions(resend=Resend("key body", count, 1_000_000)) for count in range(3))
    await story.submit(1, first)
    await story.submit(2, first)
    for at, on in ((3, second), (3, second), (4, second), (5, second), (6, third)):
        await story.submit(at, on)
    await story.submit(7, second, "other")
    await story.note(SUBMISSIONS)
    assert await story.store.key_holder(made_key(8), third)
    assert await story.store.key_holder(made_key(9), Conditions(resend=Resend("key other", 1, 1000))) is None
    # The next request of the story arrives late, after its key has expired.
    await story.submit(0, Conditions(resend=Resend("key body", 3, 0)))
    await story.alter("UPDATE submissions SET expires_at = 1")
    await story.submit(10, Conditions(resend=Resend("key body", 4, 1_000_000)))
    await story.store.withdraw(_task(1), first)  # the first task stays, because other requests were answered with it
    assert await story.erase(made_key(2))
    await story.note(SUBMISSIONS)


@tells(Submissions)
async def a_limit_of_tasks_in_flight(story: Submissions) -> None:
    plain = Conditions(tasks_in_flight_most=2, queue_share=1)
    on = plain._replace(idempotency_key="key", digest="this")
    await story.submit(9, plain, "other")
    for at in (1, 2, 2):
        await story.submit(at, plain)
    await story.submit(3, on)
    await story.note(SUBMISSIONS)
    assert await story.cancel(made_key(1))
    await story.submit(3, on)
    story.outcomes.append(await story.store.retry(made_key(1), LEASE_MS, plain))
    assert await story.cancel(made_key(2))
    story.outcomes.append(await story.store.retry(made_key(1), LEASE_MS, plain))
    await story.note(SUBMISSIONS)
    # Without a limit, the answer only says whether the tenant's share of the queue is used up.
    await story.submit(4, Conditions(queue_share=1))
    await story.submit(5, Conditions(queue_share=9))


@tells(Submissions)
async def a_limit_of_characters_counted_once(story: Submissions) -> None:
    on = Conditions(characters_a_day_most=13)
    await story.submit(9, on, "other")
    for at in (1, 1, 2, 1, 2):
        assert isinstance(await story.submit(at, on), Accepted)
    await story.submit(3, on)
    await story.submit(3, on._replace(idempotency_key="key", digest="this"))
    await story.submit(4, on._replace(tasks_in_flight_most=9, characters_a_day_most=18))
    await story.note(CHARACTERS)
    await story.alter("UPDATE daily_use SET day = day - 1 WHERE tenant = 'local'")
    await story.submit(3, on)
    await story.note(CHARACTERS)
    await story.note(SUBMISSIONS)
