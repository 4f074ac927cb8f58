"""Stories about webhooks: endpoints from creation to deletion, and deliveries from a task's end to their own end."""

from collections.abc import Sequence

from src.features.webhooks.deliveries_store import Attempt, AttemptResult, DueDelivery, Taken, look, read_look
from src.features.webhooks.rules import AttemptFailure, DeliveryOutcome, EndpointKey, Event, endpoint_key_of
from src.kernel.domain.task import Status
from src.kernel.store.claims import Fail, Finish
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import RETENTION_MS, TASK, Story, limited, made_key, tells

ALL = tuple(Event)
BEGAN_AT = 99_999_999_999_998  # a time later than the end of any pause
STATES = """SELECT state, task_id, generation, endpoint_id, event, fence, tries, outcome, attempts
  FROM webhook_deliveries ORDER BY state, task_id, generation, endpoint_id"""
PAUSES = (
    "SELECT id, failures, paused_until > 0 AS pauses, disabled_at IS NOT NULL AS off FROM webhook_endpoints ORDER BY id"
)


def _key(number: int, tenant: str = "local") -> EndpointKey:
    return endpoint_key_of(tenant, f"we_{number:024x}")


async def _endpoint(story: Story, number: int, *events: Event, tenant: str = "local") -> EndpointKey:
    key = _key(number, tenant)
    made = await story.webhooks.insert(key, "ü", "https://example.com/x", events or ALL)
    assert made is not None
    # The tasks of stories have ids of 1970, so the endpoint must be as old.
    await story.alter("UPDATE webhook_endpoints SET created_at = 0 WHERE id = ?1", key)
    return key


async def _failed(story: Story, number: int = 1) -> None:
    key = made_key(number)
    await story.insert(key)
    claim = await story.claim("one", key)
    assert await story.store.step(claim, progress(claim, failed=1), Fail(RETENTION_MS, FAILURE))


async def _due(story: Story) -> list[DueDelivery]:
    """Make all deliveries due, and read them as a sweep does, stray ones included."""
    await story.alter("UPDATE webhook_deliveries SET due_at = 1")
    due = read_look((await story.store.due(9, looks=[look("free")])).looked[0])
    if any(one.astray for one in due):
        await story.deliveries.sort()
    return due


def _timeless(due: Sequence[DueDelivery]) -> list[DueDelivery]:
    return [one._replace(key=one.key._replace(ended_at=0)) for one in due]


def _tried(taken: Taken, failure: AttemptFailure | None, outcome: DeliveryOutcome | None = None) -> AttemptResult:
    return AttemptResult(taken, Attempt(BEGAN_AT, 200 if failure is None else 500, 12, failure), outcome, 60_000, 5)


@tells(Story)
async def an_endpoint_from_its_making_to_its_end(story: Story) -> None:
    key = await _endpoint(story, 1)
    await _endpoint(story, 2, Event.TASK_FAILED)
    await _endpoint(story, 3, tenant="local-2")
    found = await story.webhooks.find(key)
    assert found is not None
    for keep_old in (True, True, False):  # the later calls of `rotate` name an old generation of the secret
        rotated = await story.webhooks.rotate(found, keep_old=keep_old)
        assert rotated is not None
        story.outcomes.append([rotated.secret_generation, rotated.old_secret_signs])
    story.outcomes.append([one.key for one in await story.webhooks.list("local")])
    with limited("WEBHOOK_ENDPOINTS_MOST", 2):
        story.outcomes.append(await story.webhooks.insert(_key(4), "x", "https://example.com/", ALL))
        story.outcomes.append(await story.webhooks.delete(key))
        # a late repetition
        story.outcomes.append(await story.webhooks.insert(key, "x", "https://example.com/", ALL))
        story.outcomes.append(await story.webhooks.delete(key))
        await _endpoint(story, 4)
    story.outcomes.append([one.key for one in await story.webhooks.list("local")])


@tells(Story)
async def an_end_is_written_into_the_outbox(story: Story) -> None:
    await _failed(story, 9)  # no endpoint exists yet that subscribes to this end
    await _endpoint(story, 1)
    await _endpoint(story, 2, Event.TASK_COMPLETED, Event.RESPONSE_CANCELLED)
    await _endpoint(story, 3, tenant="local-2")
    await _failed(story, 1)
    await story.insert(made_key(2))
    claim = await story.claim("two", made_key(2))
    *whole, cut = outputs(0, 1, 2)
    done = progress(claim, completed=3, outputs=[*whole, cut._replace(finish_reason="length")], truncated=1)
    for _ in range(2):  # the worker's last step is sent twice, as if the first answer was lost
        assert await story.store.step(claim, done, Finish(RETENTION_MS))
    await story.insert(made_key(3))
    await story.alter("UPDATE tasks SET response = '{}' WHERE id = ?1", made_key(3))
    await story.cancel(made_key(3))
    await story.alter("UPDATE webhook_endpoints SET paused_until = 99999999999999 WHERE id = ?1", _key(1))
    for number in (4, 5):
        await story.insert(made_key(number))
    story.outcomes.append(await story.bulk.cancel_all({made_key(4): 0, made_key(5): 7}, Status.PENDING, RETENTION_MS))
    story.outcomes.append(len(story.outbox.fresh))
    await story.note(STATES)
    await story.erase(made_key(4))
    await story.note(STATES)


@tells(Story)
async def a_delivery_that_fails_and_then_is_taken(story: Story) -> None:
    await _endpoint(story, 1)
    await _failed(story)
    ((fresh, _),) = story.outbox.fresh
    await story.deliveries.record([_tried(fresh, AttemptFailure.SERVER_ERROR)])
    await story.deliveries.record([_tried(fresh, AttemptFailure.SERVER_ERROR)])  # the write is repeated
    await story.note(PAUSES)
    due = await _due(story)
    story.outcomes.append(_timeless(due))
    taken = [await story.deliveries.take(due) for _ in range(2)]  # two sweeps take on the same deliveries
    story.outcomes.append([len(one) for one in taken])
    await story.deliveries.record(
        [_tried(fresh, None, DeliveryOutcome.DELIVERED)]
    )  # a delivery's result under an old fence
    await story.deliveries.record([_tried(taken[0][0], None, DeliveryOutcome.DELIVERED)])
    await story.note(STATES)
    await story.note(PAUSES)
    found = await story.deliveries.delivery(fresh.key)
    assert found is not None
    again = await story.deliveries.redeliver(found)
    story.outcomes += [again is not None, await story.deliveries.redeliver(found)]  # the second `redeliver` comes late
    story.outcomes.append(await story.deliveries.deliveries(TASK) == [await story.deliveries.delivery(fresh.key)])


@tells(Story)
async def deliveries_of_endpoints_that_rest_or_are_gone(story: Story) -> None:
    for number in (1, 2):
        await _endpoint(story, number)
    for number in (1, 2, 3):
        await _failed(story, number)
    story.outcomes.append(len(await _due(story)))
    await story.alter("UPDATE webhook_deliveries SET state = 2 WHERE task_id <> ?1", made_key(3))
    await story.alter("UPDATE webhook_endpoints SET failures = 9 WHERE id = ?1", _key(1))
    story.outcomes.append(_timeless(await _due(story)))
    await story.alter("UPDATE webhook_endpoints SET paused_until = 99999999999999 WHERE id = ?1", _key(1))
    due = await _due(story)
    story.outcomes.append(_timeless(due))
    await story.note(STATES)
    (gone, *_) = await story.deliveries.take([one for one in due if not one.astray])
    await story.deliveries.record([_tried(gone, AttemptFailure.GONE, DeliveryOutcome.GONE)])
    await story.note(PAUSES)
    await story.alter("UPDATE webhook_deliveries SET begun_at = 1 WHERE state = 2 AND task_id = ?1", made_key(1))
    due = await _due(story)
    story.outcomes.append(_timeless(due))
    story.outcomes.append(await story.deliveries.take(due))
    await story.note(STATES)
    await story.alter("UPDATE webhook_endpoints SET paused_until = 0")
    due = await _due(story)
    story.outcomes.append(_timeless(due))
    story.outcomes.append(len(await story.deliveries.take(due)))  # the endpoint is paused for the time of the try
    await story.note(STATES)
    await story.note("SELECT id, failures, paused_until > 0 AS paused FROM webhook_endpoints ORDER BY id")
    story.outcomes.append(await story.webhooks.failing())
    story.outcomes.append(await story.webhooks.delete(_key(1)))
    await story.note(STATES)
