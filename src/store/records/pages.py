"""Pages of a list of a tenant's tasks: where a page begins and ends, and which tasks a filter leaves out."""

import string
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ...core.ids import TaskKey, first_id, task_key_of
from ...core.states import Status
from ...core.task import Route, Task

_BEHIND_ALL = "~"  # Sorts after every task id.


class Span(NamedTuple):
    """A range of one tenant's task keys: from `first` on, up to `behind`, which does not belong to it."""

    first: str
    behind: str


class ListFilter(NamedTuple):
    """Which tasks of a span a list shows: those that have the value of each field. None allows any value.

    The statement LIST_FILTERED has a condition for each field of the filter. `text` must occur in a name of the task,
    or begin its id; it contains no capital A to Z. `default_model` is the model of a task that names none.
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

    The next page begins after the key `last`; None means that there is no next page. A page with a filter may contain
    fewer tasks than requested, or none, and still have a next page.
    """

    tasks: Sequence[Task]
    last: TaskKey | None


class Counts(NamedTuple):
    """How many of the newest `among` tasks of a span have each status.

    `all` says that the span has no other tasks than the counted ones.
    """

    of: Mapping[Status, int]
    among: int
    all: bool


def span(tenant: str, *, before_id: str | None, from_ms: int | None, until_ms: int | None, prefix: str = "") -> Span:
    """Make the span of a tenant's tasks that were created from `from_ms` on, before `until_ms`, and before `before_id`.

    A bound that is None does not limit the span. The ids of all tasks in the span begin with `prefix`.
    """
    bounds = [prefix + _BEHIND_ALL]
    bounds += [before_id] if before_id else []
    bounds += [first_id(until_ms)] if until_ms is not None else []
    first = "" if from_ms is None else first_id(from_ms)
    return Span(task_key_of(tenant, max(first, prefix)), task_key_of(tenant, min(bounds)))
