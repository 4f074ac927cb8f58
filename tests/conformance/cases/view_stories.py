"""Stories about lists of tasks, with pages, bounds, searches and counts, and about the log of a task's calls."""

from typing import Any

from src.features.attempts.log import AttemptOutcome, AttemptStore, EntryKey
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import split_task_key
from src.kernel.domain.task import Failure, Route, Status
from src.kernel.store.claims import AttemptEntry, CallKey, Continue, FailedCall, Output, Tries
from src.kernel.store.rows import ListFilter, Page, span
from tests.conformance.cases.steps import progress
from tests.conformance.cases.storyteller import Story, limited, made_key, tells

ALL = span("local", before_id=None, from_ms=None, until_ms=None)


async def _write_tasks(story: Story) -> None:
    for at in range(1, 8):
        await story.insert(made_key(at))
    for tenant in ("loca", "local-2"):
        await story.insert(made_key(4, tenant))
    for at in (2, 6):
        assert await story.cancel(made_key(at))


def _shown(page: Page) -> list[Any]:
    return [[(task.task_key, task.status) for task in page.tasks], page.last]


@tells(Story)
async def a_list_page_by_page_and_between_bounds(story: Story) -> None:
    await _write_tasks(story)
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


@tells(Story)
async def a_list_of_one_status_over_a_short_walk(story: Story) -> None:
    await _write_tasks(story)
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


@tells(Story)
async def several_tasks_at_once(story: Story) -> None:
    await _write_tasks(story)
    found = await story.store.tasks([made_key(at) for at in (6, 1, 9)])
    story.outcomes.append(sorted((task.task_key, task.status) for task in found))
    story.outcomes.append(await story.store.tasks([]))


@tells(Story)
async def a_search_by_each_filter(story: Story) -> None:
    names: list[dict[str, object]] = [
        {"name": "Report 100%_done"},
        {"title": "ÜBERSICHT"},
        {"label": "報告\u0007"},
        {"name": 5, "title": ["Report"]},
        {"other": "Report"},
        {"name": "quote ' \" \\ :x ?"},
    ]
    for at, metadata in enumerate(names, start=1):
        await story.insert(made_key(at), metadata=metadata, model="m" if at % 2 else None)
    assert await story.cancel(made_key(2))
    searches = ["report", "%_", "%", "_", "übersicht", "übersicht".upper(), "報", "' \"", ":x", "?", "\\", "x"]
    filters = [ListFilter(text=text) for text in searches]
    filters += [ListFilter(text=split_task_key(made_key(3))[1][:size]) for size in (1, 20, 36)]
    filters += [ListFilter(model="m", default_model="d"), ListFilter(model="d", default_model="d")]
    filters += [ListFilter(route=Route.QUEUE), ListFilter(route=Route.DIRECT), ListFilter(error_code="model_refused")]
    for only in filters:
        story.outcomes.append([only, *_shown(await story.store.list(ALL, only=only, most=9))])
    with limited("LIST_WALK_MOST", 4):
        for only in (ListFilter(), ListFilter(text="report"), ListFilter(Status.CANCELLED, text="übersicht".upper())):
            story.outcomes.append([only, await story.store.counts(ALL, only)])
    story.outcomes.append(await story.store.counts(ALL, ListFilter()))


@tells(Story)
async def the_log_of_a_tasks_calls(story: Story) -> None:
    key = made_key(1)
    await story.insert(key, chunks=3)
    claim = await story.claim("worker", key)
    refused = Failure(TaskCode.MODEL_UNAVAILABLE, "503", True)

    def failed(number: int, position: int = 1) -> FailedCall:
        made = AttemptEntry(number, number + 5, True, "m", "queue", number, refused)
        return FailedCall(CallKey(0, position), Tries(number, number), False, refused, entry=made)

    logged = story.store.beside(AttemptStore)
    with limited("ATTEMPTS_LOGGED_MOST", 3):
        for number in range(1, 6):
            told = {"failures": [failed(number), failed(number, 2)][: 1 + number % 2], "calls_settled": number}
            made = progress(claim, step=number, **told)
            for _ in range(2):  # the repeated write adds nothing
                await story.store.step(claim, made, Continue(10_000))
            page = await logged.attempts(key, tuple(AttemptOutcome), None, 9, "d")
            story.outcomes.append(page and [page.attempts, page.counts, page.after])
    output = Output(CallKey(0, 1), "text", 6, "stop", 7, 8)
    made = progress(claim, step=6, outputs=[output], completed=1, in_flight=[CallKey(0, 0)], doubted=[CallKey(0, 2)])
    await story.store.step(claim, made, Continue(10_000))
    after: EntryKey | None = None
    for _ in range(9):
        page = await logged.attempts(key, tuple(AttemptOutcome), after, 2, "d")
        assert page is not None
        # The time of the announcement comes from the database's clock, and is therefore left out.
        story.outcomes.append([[one._replace(announced_ms=None) for one in page.attempts], page.counts, page.after])
        after = page.after
        if after is None:
            break
    for outcome in AttemptOutcome:
        page = await logged.attempts(key, (outcome,), None, 9, "d")
        assert page is not None
        story.outcomes.append([(one.key, one.outcome) for one in page.attempts])
    assert await logged.attempts(made_key(2), tuple(AttemptOutcome), None, 9, "d") is None
