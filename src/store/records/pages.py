"""Pages of a list of a tenant's tasks: where a page begins and ends, and which tasks a filter leaves out."""

import string
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ...core.ids import TaskKey, first_id, task_key_of
from ...core.states import Status
from ...core.task import Route, Task

_BEHIND_ALL = "~"  # A text that sorts after every task id.


class Span(NamedTuple):
    """A range of one tenant's task keys: from `first` on, and up to but not including `behind`."""

    first: str
    behind: str


class ListFilter(NamedTuple):
    """Says which tasks of a span a list shows: the tasks that have the given value in each field that is set.

    None allows any value. The SQL statement LIST_FILTERED has a condition for each field of the filter. `text` must
    occur in a name of the task, or the task's id must begin with `text`; `text` contains no capital A to Z.
    `default_model` is the model that counts for a task that names no model.
    """

    status: Status | None = None
    route: Route | None = None
    error_code: str | None = None
    model: str | None = None
    text: str | None = None
    default_model: str | None = None

    def takes(self, task: Task) -> bool:
        """Whether a list with the filter shows the task."""
        return (
            self.status in {None, task.status}
            and self.route in {None, task.route}
            and self.error_code in {None, task.failure.code if task.failure else ""}
            and self.model in {None, task.options.model or self.default_model}
            and (self.text is None or self._finds(self.text, task))
        )

    def _finds(self, text: str, task: Task) -> bool:
        return task.id.startswith(text) or any(text in folded(name) for name in task.names)


NO_FILTER: Final = ListFilter()
_FOLDED: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(text: str) -> str:
    """Write A to Z in lower case, and leave all other characters, as SQLite's `lower` does."""
    return text.translate(_FOLDED)


class Page(NamedTuple):
    """A page of a list of tasks, newest first.

    The next page begins after the task key `last`; None means that there is no next page. A page with a filter may
    contain fewer tasks than requested, or none, and still have a next page.
    """

    tasks: Sequence[Task]
    last: TaskKey | None


class Counts(NamedTuple):
    """Of the newest `among` tasks of a span, how many have each status.

    `all` says that the span has no other tasks than these `among` tasks.
    """

    of: Mapping[Status, int]
    among: int
    all: bool


def span(tenant: str, *, before_id: str | None, from_ms: int | None, until_ms: int | None, prefix: str = "") -> Span:
    """Make the span of a tenant's tasks created at or after `from_ms`, before `until_ms`, and before task `before_id`.

    If one of these bounds is None, it does not limit the span. All task ids in the span begin with `prefix`.
    """
    bounds = [prefix + _BEHIND_ALL]
    bounds += [before_id] if before_id else []
    bounds += [first_id(until_ms)] if until_ms is not None else []
    first = "" if from_ms is None else first_id(from_ms)
    return Span(task_key_of(tenant, max(first, prefix)), task_key_of(tenant, min(bounds)))
