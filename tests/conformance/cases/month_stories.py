"""Stories about a tenant's cap for its month: the triggers that keep its sums and refuse, and the tasks that wait."""

from dataclasses import replace
from typing import Any

from src.features.cost.month import WAKE_AGAIN, MonthStore
from src.kernel.domain.errors import CapRefused
from src.kernel.domain.task import COST_LIMIT, Wait
from src.kernel.store.claims import NOTHING_ELSE, Claim, Continue, Money, Progress, Release
from tests.conformance.cases.registry import worker_case
from tests.conformance.cases.steps import progress
from tests.conformance.cases.storyteller import LEASE_MS, TASK, Story, made_key, new_task


def _spent(claim: Claim, money: Money, *, announces: bool = False, wait: Wait | None = None) -> Progress:
    return replace(progress(claim), step=claim.step + 1, money=money, announces=announces, wait=wait)


@worker_case
async def the_cap_of_a_month_holds(env: Any) -> Any:
    story = Story(env)
    months = story.store.beside(MonthStore)

    async def tried(work: Any) -> None:
        try:
            story.outcomes.append(await work)
        except CapRefused as refused:
            story.outcomes.append(f"refused: {refused.lacks_price}")

    async def sums() -> None:
        found = await months.read("local")
        assert found is not None
        story.outcomes.append(found[:4])

    async def step(claim: Claim, money: Money, **more: Any) -> Claim:
        await tried(story.store.step(claim, _spent(claim, money, announces=True), Continue(LEASE_MS), **more))
        return replace(claim, step=claim.step + 1)

    story.outcomes.append(await months.read("local"))
    await story.insert()
    early = await story.claim("early", announce=1)
    assert not early.capped
    early = await step(early, Money(1, 2, 30))  # no cap yet
    await months.set("local", 1000)
    await sums()
    early = await step(early, Money(2, 2, 40))  # it does not know the cap
    await story.store.step(early, _spent(early, Money(31, 2, 0)), Release(0, 0))
    await sums()
    claim = await story.claim("late", announce=1)
    assert claim.capped
    claim = await step(claim, Money(31, 2, 970))
    claim = await step(claim, Money(31, 2, 972))  # above the cap
    await sums()
    for amount in (-1, 970, 972):
        await tried(story.store.insert(replace(new_task(made_key(3 + amount % 7)), first_most=amount), 1))
    await months.set("local", 2000)
    wait = Wait(COST_LIMIT, 10**14)
    waking = WAKE_AGAIN.bind(task_key=TASK, fence=claim.fence, tenant="local", most=1000, month=1)
    away = _spent(claim, Money(31, 2, 0), wait=wait)
    await story.store.step(claim, away, Release(10**9, 10**9), also=NOTHING_ELSE._replace(asks=waking))
    claim = await story.claim("again")
    await story.store.step(claim, _spent(claim, Money(31, 2, 0), wait=wait), Release(10**9, 10**9))
    _, first = await months.set("local", None)
    assert first is not None
    story.outcomes += [first, await months.wake(first), await months.waking(), await months.read("local")]
    await months.set("local", 3000)
    claim = await step(await story.claim("last"), Money(31, 2, 500))
    await story.store.erase(TASK)
    await sums()
    _, last = await months.set("local", None)  # later stories have no cap
    assert last is not None
    await months.wake(last)
    steps, *outcomes = story.told()
    return [[step[:3] for step in steps], *outcomes]  # the fakes do not count the rows that triggers write
