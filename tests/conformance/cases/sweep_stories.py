"""Stories about the tasks that the sweep finds, what it does with them, and the order of the tenants."""

from typing import Any

from src.kernel.calls.pace import Rests
from src.kernel.domain.ids import split_task_key
from src.kernel.domain.task import Wait
from src.kernel.store.absence import AbsenceStore
from src.kernel.store.claims import Finish, Release
from tests.conformance.cases.registry import worker_case
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, RETENTION_MS, Story, made_key, tells

TENANTS = ("alpha", "beta", "gamma")


@tells(Story)
async def what_the_sweep_does(story: Story) -> None:
    store = story.store
    idle, live, over, dead, hopeless, later = keys = [made_key(at) for at in range(1, 7)]
    for at, key in enumerate(keys):
        await story.insert(key, unclaimed_ms=at - 10 if key != later else LEASE_MS)
    await story.claim("one", live)
    finished = await story.claim("one", over)
    assert await store.step(finished, progress(finished, outputs=outputs(0, 1, 2), completed=3), Finish(-1))
    await story.claim("one", dead, lease_ms=0)
    await story.claim("one", hopeless, lease_ms=0)
    await story.claim("two", hopeless, lease_ms=0)
    due = await store.due(10)
    story.outcomes.append(sorted(due.stalls.items()))
    stalled = sorted(due.stalls)
    story.outcomes.append(await store.give_up(stalled, 3, FAILURE, RETENTION_MS))
    story.outcomes.append(await store.give_up(stalled, 2, FAILURE, RETENTION_MS))
    story.outcomes.append(await store.give_up(stalled, 2, FAILURE, RETENTION_MS))
    story.outcomes += [due.live, due.idle, due.past_retention]
    for _ in range(2):
        story.outcomes.append(await store.take_due(due, LEASE_MS))
        story.outcomes.append(await store.erase_expired(due))
    for _ in range(2):  # only the idle ones among these tasks become due again
        await store.make_due(keys)
    again = await store.due(10)
    story.outcomes += [again.live, sorted(again.idle), again.past_retention]
    assert await store.dead_letter(idle, FAILURE, RETENTION_MS)


@tells(Story)
async def a_task_whose_workers_die_rests(story: Story) -> None:
    store, rests = story.store, Rests((0, LEASE_MS), 2 * LEASE_MS)
    key = made_key(1)
    await story.insert(key, unclaimed_ms=-10)
    for host in ("", "object", ""):
        claim = await story.claim(f"of {host}", key, lease_ms=0, host=host, rests=rests)
        story.outcomes += [claim.stalls, round(claim.rest_ms / LEASE_MS)]
        due = await store.due(10)
        story.outcomes += [due.live, due.idle, due.stalls, await store.take_due(due, LEASE_MS)]
        if claim.stalls:
            await story.refused("other", key)
            await story.refused("the same host's", key, host=host)
            await story.alter("UPDATE tasks SET rest_until = 0, wake_at = 0 WHERE id = ?", key)


@tells(Story)
async def places_on_objects_are_taken_and_freed(story: Story) -> None:
    store = story.store
    first, second, third = keys = [made_key(at) for at in range(1, 4)]
    for key in keys:
        await story.insert(key, unclaimed_ms=LEASE_MS)
    await story.alter("UPDATE tasks SET route = 'durable-object'")
    for key in (first, first, second, third):
        story.outcomes.append(await store.take_slot(key, 2))
    story.outcomes.append(await store.fill_slots(2, 9))
    story.outcomes.append((await store.due(10)).idle)
    assert await story.cancel(first)
    story.outcomes.append(await store.fill_slots(2, 9))
    for most in (2, 3):  # neither a repeated grant of a place nor a grant beyond the bound changes anything
        story.outcomes.append(await store.give_slots([third, made_key(4)], most))
    story.outcomes.append((await store.due(10)).idle)
    for key in (first, third):
        story.outcomes.append(await store.take_slot(key, 2))
    for most in (2, 9):
        story.outcomes.append(await store.may_stand_in(second, most))
    await story.note("SELECT id FROM object_places ORDER BY id")


@tells(Story)
async def tenants_take_permits_in_the_sweep(story: Story) -> None:
    # Tenant alpha has the oldest backlog, tenant gamma the youngest task. The last inserted task is not due.
    tenants = ("alpha", "alpha", "alpha", "alpha", "beta", "beta", "gamma", "gamma")
    for at, tenant in enumerate(tenants):
        await story.insert(made_key(at, tenant), unclaimed_ms=at - 10 if at < 7 else LEASE_MS)
    # Each call of `due` serves all tenants, so the next call begins with the first tenant again.
    for most in (10, 5, 2):
        due = await story.store.due(most, served=len(TENANTS))
        story.outcomes.append(due.idle)
    assert await story.store.take_due(due, LEASE_MS)
    story.outcomes.append((await story.store.due(10, served=len(TENANTS))).idle)


@worker_case
async def the_tenant_who_comes_first_moves_on_by_the_minute(env: Any) -> Any:
    story = Story(env)
    for at, tenant in enumerate(TENANTS):
        await story.insert(made_key(at, tenant), unclaimed_ms=-10)
    for served in (1, 2, 4, 5):
        due = await story.store.due(3, served=served)
        first = due.now_ms // 60_000 * served % len(TENANTS)
        assert [split_task_key(key)[0] for key in due.idle] == [*TENANTS[first:], *TENANTS[:first]]
        (alone,) = (await story.store.due(1, served=served)).idle
        assert split_task_key(alone)[0] in TENANTS
    # The story does not record the rows that the statements return, because their order depends on the time. The
    # assertions above have checked the order.
    return [[name, len(rows), changes, written] for name, rows, changes, written in story.recorder.log]


@tells(Story)
async def pauses_of_waiting_tasks_end(story: Story) -> None:
    absences = story.store.beside(AbsenceStore)
    waiting, asked = made_key(1), made_key(2, "other")
    for key, until in ((waiting, None), (asked, 4_102_444_800_000)):
        await story.insert(key)
        claim = await story.claim("one", key)
        told = progress(claim, away_waits=2, wait=Wait("model_away", None), asked_until=until)
        assert await story.store.step(claim, told, Release(LEASE_MS, 2 * LEASE_MS))
    groups = await absences.unfinished(10, 900_000)
    story.outcomes.append([(group.tenant, group.is_away, group.tasks, group.succeeds) for group in groups])
    paused = await absences.paused("m", 10)
    story.outcomes.append([(task.task_key, task.model) for task in paused])
    for _ in range(2):  # the write is repeated
        story.outcomes.append(await absences.end_pauses([waiting, asked]))
    story.outcomes.append(await absences.answers(paused))
    story.outcomes.append((await story.claim("two", waiting)).resumed)
