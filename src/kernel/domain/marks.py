"""Remembers how far tasks have progressed, as an isolate learns from the workers that run in the isolate.

It is stored as plain numbers, because a request must not await another request's objects: one that waits for a task
checks them from time to time. They are only a hint, lost with the isolate, and perhaps of a claim that is over.
"""

from typing import NamedTuple

from . import limits
from .ids import TaskKey
from .task import Mark, Route, Status

# Higher than the number of every write of a claim: the largest whole number that JavaScript has exactly.
LAST_STEP = 2**53 - 1


class Pulse(NamedTuple):
    """What one read of a task's row found: its last write, its status and its route."""

    mark: Mark
    status: Status
    route: Route


class Known(NamedTuple):
    """A task's last known write, whether it `ended` the task, and `until` when a worker here has it, unless dead."""

    mark: Mark
    ended: bool
    until: float


class Marks:
    """The last known write of each task that an isolate remembers. Losing it only costs reads."""

    def __init__(self) -> None:
        self._known: dict[TaskKey, Known] = {}

    def wrote(self, task_key: TaskKey, mark: Mark, until: float) -> None:
        """Record a write. Its worker still works on the task, at the longest until its lease ends at `until`."""
        self._note(task_key, Known(mark, ended=False, until=until))

    def left(self, task_key: TaskKey, fence: int, *, ended: bool) -> None:
        """Record that a worker is done with its claim. `ended` says that the task has ended."""
        self._note(task_key, Known(Mark(fence, LAST_STEP), ended=ended, until=0.0))

    def ended(self, task_key: TaskKey) -> None:
        """Record that a client cancelled or erased a task that a worker of this isolate has had."""
        known = self._known.get(task_key)
        if known is not None:
            self.left(task_key, known.mark.fence, ended=True)

    def find(self, task_key: TaskKey) -> Known | None:
        """Return what the isolate knows about the task."""
        return self._known.get(task_key)

    def _note(self, task_key: TaskKey, known: Known) -> None:
        """Remember a task's last write. Above MARKS_MOST tasks, the one written least recently goes."""
        before = self._known.get(task_key)
        if before is not None and before.mark > known.mark:
            return
        self._known.pop(task_key, None)
        self._known[task_key] = known
        if len(self._known) > limits.MARKS_MOST:
            del self._known[next(iter(self._known))]
