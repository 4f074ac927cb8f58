"""Pages of a tenant's tasks: where a page begins and ends, what it leaves out, and where the next one begins."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ...core.ids import TaskKey, first_id, task_key_of
from ...core.states import Status
from ...core.task import Task

_BEHIND_ALL = "~"  # sorts after every id


class Span(NamedTuple):
    """The keys from `first` on, up to and without `behind`. All these keys belong to one tenant."""

    first: str
    behind: str


class ListFilter(NamedTuple):
    """Which tasks of a span a list shows: those that have each of these values. None: any value.

    Each field has the name of its column. The statement of the list takes its condition from the fields.
    """

    status: Status | None = None

    def takes(self, task: Task) -> bool:
        """Whether a list shows the task."""
        return self.status in {None, task.status}


NO_FILTER: Final = ListFilter()


class Page(NamedTuple):
    """Tasks, newest first. The next page begins after the key `last`, None if there is none.

    A page with a filter may contain fewer tasks than requested, or none, and still have a next page.
    """

    tasks: Sequence[Task]
    last: TaskKey | None


def span(tenant: str, *, before_id: str | None, from_ms: int | None, until_ms: int | None) -> Span:
    """Make the span of the tenant's tasks created from `from_ms` on, before `until_ms`, and before a task."""
    bounds = [_BEHIND_ALL, *([before_id] if before_id else []), *([first_id(until_ms)] if until_ms is not None else [])]
    first = "" if from_ms is None else first_id(from_ms)
    return Span(task_key_of(tenant, first), task_key_of(tenant, min(bounds)))
