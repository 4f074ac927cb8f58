"""Lists of tasks: pages, bounds, and the search for those of one status."""

from typing import Any

from src.core.ids import split_task_key
from src.core.states import Status
from src.store.records.pages import ListFilter, Page, span
from tests.conformance.cases.registry import worker_case
from tests.conformance.cases.storyteller import Story, limited, made_key

ALL = span("local", before_id=None, from_ms=None, until_ms=None)


async def _tasks(env: Any) -> Story:
    """Make seven tasks a millisecond apart, the second and sixth cancelled, and a task of another tenant."""
    story = Story(env)
    for at in range(1, 8):
        await story.insert(made_key(at))
    for tenant in ("loca", "local-2"):
        await story.insert(made_key(4, tenant))
    for at in (2, 6):
        assert await story.cancel(made_key(at))
    return story


def _shown(page: Page) -> list[Any]:
    return [[(task.task_key, task.status) for task in page.tasks], page.last]


@worker_case
async def a_list_page_by_page_and_between_bounds(env: Any) -> Any:
    story = await _tasks(env)
    before: str | None = None
    for _ in range(3):
        page = await story.store.list(span("local", before_id=before, from_ms=None, until_ms=None), most=3)
        story.outcomes.append(_shown(page))
        before = None if page.last is None else split_task_key(page.last)[1]
    assert before is None
    for bounds in ({"from_ms": 3, "until_ms": 5}, {"from_ms": 7, "until_ms": None}, {"from_ms": 9, "until_ms": None}):
        page = await story.store.list(span("local", before_id=None, **bounds), most=3)
        story.outcomes.append(_shown(page))
    story.outcomes.append(
        _shown(await story.store.list(span("none", before_id=None, from_ms=None, until_ms=None), most=3))
    )
    return story.told()


@worker_case
async def a_list_of_one_status_over_a_short_walk(env: Any) -> Any:
    story = await _tasks(env)
    with limited("LIST_WALK_MOST", 3):
        for status, most in ((Status.CANCELLED, 1), (Status.CANCELLED, 5), (Status.FAILED, 5), (Status.PENDING, 2)):
            where = ALL
            for _ in range(9):
                page = await story.store.list(where, only=ListFilter(status), most=most)
                story.outcomes.append([status, most, *_shown(page)])
                if page.last is None:
                    break
                where = span("local", before_id=split_task_key(page.last)[1], from_ms=None, until_ms=None)
            assert page.last is None
    page = await story.store.list(ALL, only=ListFilter(Status.CANCELLED), most=5)
    story.outcomes.append(_shown(page))
    return story.told()


@worker_case
async def several_tasks_at_once(env: Any) -> Any:
    story = await _tasks(env)
    found = await story.store.tasks([made_key(at) for at in (6, 1, 9)])
    story.outcomes.append(sorted((task.task_key, task.status) for task in found))
    story.outcomes.append(await story.store.tasks([]))
    return story.told()
