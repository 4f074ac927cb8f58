"""The API's views of a page of tasks, and of how many tasks have each status."""

from typing import NotRequired, TypedDict

from ...core.states import Status
from ...store.records.pages import Counts
from ..base.views import Count, shown
from .task_views import TaskView


@shown
class StatusCountsView(TypedDict):
    """How many of the newest `among` tasks that match all filters but `status` have each status, on whatever page.

    `all` says that there are no other such tasks in the requested time.
    """

    pending: Count
    processing: Count
    completed: Count
    failed: Count
    cancelled: Count
    among: Count
    all: bool


@shown
class TaskListView(TypedDict):
    """A page of tasks, newest first. Pages may be short or empty; only the last page has a `nextCursor` of null.

    `counts` is set with `?counts=true`.
    """

    tasks: list[TaskView]
    nextCursor: str | None
    counts: NotRequired[StatusCountsView]


def counts_view(counts: Counts) -> StatusCountsView:
    """Show how many tasks have each status."""
    of = counts.of
    return StatusCountsView(
        pending=of[Status.PENDING],
        processing=of[Status.PROCESSING],
        completed=of[Status.COMPLETED],
        failed=of[Status.FAILED],
        cancelled=of[Status.CANCELLED],
        among=counts.among,
        all=counts.all,
    )
