"""Stories about tenants: which tenants have tasks, from a given tenant on, and how their tasks ended."""

from src.kernel.store.claims import Fail, Finish
from src.kernel.store.tenants import TenantStore
from tests.conformance.cases.steps import FAILURE, outputs, progress
from tests.conformance.cases.storyteller import RETENTION_MS, Story, made_key, tells

EVER_HOURS = 10_000_000
NAMES = ("a", "a-b", "a0", "b")


@tells(Story)
async def tenants_in_the_order_of_their_keys(story: Story) -> None:
    tenants = story.store.beside(TenantStore)
    story.outcomes.append(await tenants.tenants("", 3))
    for name in NAMES:
        for at in (1, 2):
            await story.insert(made_key(at, name))
    story.outcomes += [await tenants.tenants("", most) for most in (1, 3, 9)]
    story.outcomes += [await tenants.tenants(first, 9) for first in ("a", "a-b", "aa", "b", "c")]


@tells(Story)
async def what_became_of_the_tasks_of_tenants(story: Story) -> None:
    tenants = story.store.beside(TenantStore)
    for at in (1, 2, 3):
        await story.insert(made_key(at, "a"))
    await story.insert(made_key(1, "b"))
    claim = await story.claim("one", made_key(1, "a"))
    done = progress(claim, calls_settled=3, calls_in_doubt=1, completed=2, outputs=outputs(0, 1), output_tokens=5)
    assert await story.store.step(claim, done, Fail(RETENTION_MS, FAILURE))
    claim = await story.claim("two", made_key(2, "a"))
    done = progress(claim, calls_settled=3, completed=3, outputs=outputs(0, 1, 2), output_tokens=7)
    assert await story.store.step(claim, done, Finish(RETENTION_MS))
    story.outcomes.append(await tenants.figures(["a", "b", "none"], EVER_HOURS))
    await story.alter("UPDATE tasks SET created_at = 1 WHERE id LIKE 'a:%'")
    story.outcomes.append(await tenants.figures(["a", "b"], 1))
