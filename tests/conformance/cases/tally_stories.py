"""Stories about the sums, to which each end of a task is added once, and about the reads of metrics and plots."""

from typing import Any

from src.features.bulk.store import BulkStore
from src.kernel.domain.task import Status
from src.kernel.store.admission import UNCONDITIONAL
from src.kernel.store.claims import Continue, Fail, Finish
from src.kernel.store.early_erasure import Old
from tests.conformance.cases.registry import worker_case
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, OVERDUE, RETENTION_MS, Story, made_key, tells

KINDS = (RETENTION_MS, 3_600_000)
SUMS = """SELECT at > 0 AS recent, status, ended, retries, calls, in_doubt, fruitless, output_tokens, waited, took
  FROM tallies ORDER BY recent, status"""
# This SQL makes the ends of tasks some milliseconds older, because an end in the millisecond of a fold belongs to the
# next fold.
LATER = "UPDATE tasks SET finished_at = finished_at - 5, wake_at = wake_at - 5 WHERE finished_at IS NOT NULL"
# The backlog counts as sampled in the next five minutes, too, if they begin while a case runs.
SAMPLED = "INSERT INTO samples SELECT at + 300000, pending, processing, oldest_ms FROM samples"


async def _end(story: Story, number: int, *, fails: bool = False, retention_ms: int = RETENTION_MS) -> None:
    key = made_key(number)
    await story.insert(key)
    claim = await story.claim("one", key)
    if fails:
        done = progress(claim, calls_settled=3, calls_in_doubt=1, completed=2, outputs=outputs(0, 1))
        assert await story.store.step(claim, done, Fail(retention_ms, FAILURE))
        return
    done = progress(claim, calls_settled=3, completed=3, outputs=outputs(0, 1, 2), output_tokens=7)
    assert await story.store.step(claim, done, Finish(retention_ms))


@tells(Story)
async def what_ends_is_added_up_once(story: Story) -> None:
    sums = story.sums
    for number, fails in ((1, False), (2, True), (3, False)):
        await _end(story, number, fails=fails)
    await story.alter(LATER)
    first = await sums.foldable(KINDS, 100, LEASE_MS)
    for _ in range(2):  # the write is repeated
        await sums.fold(first, 100)
    await story.note(SUMS)
    await story.alter(SAMPLED)
    found = await sums.foldable(KINDS, 1, LEASE_MS)
    story.outcomes += [len(found.folds), found.more, found.sampled]
    await sums.fold(found, 100)
    await story.note(SUMS)
    await story.alter("UPDATE samples SET at = at - 300000000")
    await story.alter("UPDATE tallies SET at = at - 300000000 WHERE at > 0")
    await sums.fold(await sums.foldable(KINDS, 100, LEASE_MS), 100)
    await story.note("SELECT pending, processing FROM samples")
    await story.note(SUMS)


@tells(Story)
async def what_no_fold_has_come_to_is_added_by_whoever_erases_it(story: Story) -> None:
    store = story.store
    for number in (1, 2):
        await _end(story, number)
    await _end(story, 3, retention_ms=0)
    await story.insert(made_key(4))
    for number in (1, 4):
        story.outcomes.append(await story.erase(made_key(number)))
    await story.note(SUMS)
    await store.erase_early(Old(2**52, [made_key(2)]), keep_input=False)
    due = await store.past_retention(10)
    story.outcomes += [due.past_retention, due.uncounted, await store.erase_expired(due)]
    await story.note(SUMS)


@tells(Story)
async def retries_and_late_bills_add_what_is_new(story: Story) -> None:
    store, sums = story.store, story.sums
    for number in (1, 2):
        await _end(story, number, fails=True)
    story.outcomes.append(await store.retry(made_key(1), LEASE_MS) is not None)
    story.outcomes.append(await store.beside(BulkStore).retry_all("local", {made_key(2): 0}, LEASE_MS, UNCONDITIONAL))
    await story.note(SUMS)
    claim = await story.claim("two", made_key(1))
    assert await store.step(claim, progress(claim, in_flight=[(0, 2)], completed=2), Continue(LEASE_MS))
    story.outcomes.append(await story.cancel(made_key(1)))
    await story.alter(LATER)
    await sums.fold(await sums.foldable(KINDS, 100, LEASE_MS), 100)
    await story.note(SUMS)
    settled = progress(claim, calls_settled=claim.calls_settled + 1, completed=3, outputs=outputs(2), output_tokens=9)
    for _ in range(2):
        story.outcomes.append(await store.settle(claim, settled, OVERDUE, RETENTION_MS) is Status.CANCELLED)
    await story.note(SUMS)


@tells(Story)
async def the_calls_of_a_dead_worker_are_added_once(story: Story) -> None:
    store, sums = story.store, story.sums
    for number in (2, 1):
        await story.insert(made_key(number))
        claim = await story.claim("one", made_key(number))
        assert await store.step(claim, progress(claim, in_flight=[(0, 0), (0, 2)]), Continue(LEASE_MS))
        story.outcomes.append(await story.cancel(made_key(number)))
    await story.alter(LATER)
    await sums.fold(await sums.foldable(KINDS, 100, LEASE_MS), 100)
    await story.note(SUMS)
    story.outcomes.append(await story.erase(made_key(2)))
    await story.note(SUMS)
    await story.alter(SAMPLED)
    found = await sums.foldable(KINDS, 100, 0)
    for _ in range(2):  # the write is repeated
        await sums.fold(found, 100)
    await story.note(SUMS)
    await story.note("SELECT calls_settled, calls_in_doubt, in_flight, doubted, fence FROM tasks")
    settled = progress(claim, calls_settled=2, completed=2, outputs=outputs(0, 2))
    story.outcomes.append(await store.settle(claim, settled, OVERDUE, RETENTION_MS))
    await story.note(SUMS)


@tells(Story)
async def metrics_and_history_are_read(story: Story) -> None:
    sums = story.sums
    await _end(story, 1)
    await story.insert(made_key(2, "other"))
    await story.alter(LATER)
    await sums.fold(await sums.foldable(KINDS, 100, LEASE_MS), 100)
    standing = await story.figures.scrape(100)
    story.outcomes += [len(standing.totals), [group.tasks for group in standing.at_work], standing.until is not None]
    _, buckets = await story.figures.history(3_600_000)
    story.outcomes.append([sorted(one.ended) for one in buckets.values()])


@worker_case
async def the_newest_migration_is_read(env: Any) -> Any:
    story = Story(env)
    table = "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY, name TEXT)"
    await env.DB.batch([env.DB.prepare(table), env.DB.prepare("DELETE FROM d1_migrations")])
    story.outcomes.append(await story.figures.applied_migrations())
    await story.alter("INSERT INTO d1_migrations (id, name) VALUES (1, '0001_initial.sql'), (2, '0002_second.sql')")
    story.outcomes.append(await story.figures.applied_migrations())
    return story.told()
