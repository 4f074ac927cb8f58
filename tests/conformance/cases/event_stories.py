"""Stories about the reads for event streams: at the opening of a stream, after changes, and without changes."""

from src.kernel.store.claims import Continue, Finish
from tests.conformance.cases.steps import outputs, progress
from tests.conformance.cases.storyteller import LEASE_MS, RETENTION_MS, TASK, Story, limited, made_key, tells


@tells(Story)
async def a_task_that_is_followed(story: Story) -> None:
    store = story.store

    async def look(following: int | None, known: int) -> None:
        found = await store.look(TASK, following, known)
        assert found is not None
        texts = [output.text for output in found.outputs]
        story.outcomes.append([found.state.status, found.state.generation, found.state.started, texts, found.all_read])

    await story.insert()
    await look(0, -1)
    claim = await story.claim("one")
    await look(0, 0)
    with limited("SEGMENT_BYTES", 1):
        assert await store.step(claim, progress(claim, outputs=outputs(1), completed=1), Continue(LEASE_MS))
        await look(0, 0)
        await look(0, 1)
        assert await store.step(claim, progress(claim, outputs=outputs(0), completed=2), Continue(LEASE_MS))
    await look(None, -1)
    await look(0, 1)
    await look(1, -1)
    opening = await store.opening(TASK, 1)
    assert opening is not None
    story.outcomes.append([opening.ready, opening.index.cuts, opening.index.overlap])
    assert await store.step(claim, progress(claim, outputs=outputs(2), completed=3), Finish(RETENTION_MS))
    await look(2, 2)
    story.outcomes += [await store.opening(made_key(9), 0), await store.look(made_key(9), 0, -1)]
