"""How far tasks have come, as an isolate knows it from the workers in it: plain numbers, which its requests may share.

No request may await what belongs to another one, so whoever waits for a task looks here now and then. What stands here
is a hint: it is lost with the isolate, and may be of a claim that is over. Only the database says how a task is.
"""

from typing import NamedTuple

from . import limits
from .ids import TaskKey
from .states import Status
from .task import Mark, Route

LAST_STEP = 2**53 - 1  # behind every write of a claim; the largest whole number that JavaScript keeps


class Pulse(NamedTuple):
    """What a look at a task found: which write was its last one, its status, and on which route it is."""

    mark: Mark
    status: Status
    route: Route


class Known(NamedTuple):
    """What an isolate knows of a task. `ended`: the task ended with this mark. A worker of the isolate is at work on it
    until `until`, by a clock that does not jump, unless it has died."""

    mark: Mark
    ended: bool
    until: float


class Marks:
    """The memory of one isolate. Losing it costs looks at the database."""

    def __init__(self) -> None:
        self._known: dict[TaskKey, Known] = {}

    def wrote(self, task_key: TaskKey, mark: Mark, until: float) -> None:
        """Note a write that has landed. Its worker goes on, until its lease ends at the latest."""
        self._note(task_key, Known(mark, ended=False, until=until))

    def left(self, task_key: TaskKey, fence: int, *, ended: bool) -> None:
        """Note that a worker is through with its claim; `ended`: its task has ended."""
        self._note(task_key, Known(Mark(fence, LAST_STEP), ended=ended, until=0.0))

    def ended(self, task_key: TaskKey) -> None:
        """Note that somebody has ended, or erased, a task that a worker of this isolate has had."""
        known = self._known.get(task_key)
        if known is not None:
            self.left(task_key, known.mark.fence, ended=True)

    def find(self, task_key: TaskKey) -> Known | None:
        """Return what is known of the task."""
        return self._known.get(task_key)

    def _note(self, task_key: TaskKey, known: Known) -> None:
        """Keep it, unless something later is known; beyond MARKS_MOST tasks the oldest goes."""
        before = self._known.get(task_key)
        if before is not None and before.mark > known.mark:
            return
        self._known.pop(task_key, None)
        self._known[task_key] = known
        if len(self._known) > limits.MARKS_MOST:
            del self._known[next(iter(self._known))]
