"""`Exchange`, the only argument of every handler of a call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ...core.ids import TaskKey, is_task_id, task_key_of
from ...core.task import Task
from .acting import Acting
from .content import without_content
from .messages import Query, Request
from .problems import no_task
from .services import Api


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its call: the values of the path's variable segments, the parsed query, and the caller.

    `check_key` checks the key again during a long answer, and raises Refusal if the key is no longer valid. The result
    of a key's check is trusted for EVENT_KEY_SECONDS. `acting` says on which tenants the request acts. `key_id` is the
    id of the caller's API key, empty if the call needs no key. `may_read` says that the key has the scope `read`, even
    if the call needs another scope.
    """

    api: Api
    request: Request
    parts: Mapping[str, str]
    query: Query
    check_key: Callable[[], Awaitable[object]]
    acting: Acting
    key_id: str = ""
    may_read: bool = True

    @property
    def tenant(self) -> str:
        """The tenant on whose tasks the request acts."""
        return self.acting.tenant

    @property
    def task_key(self) -> TaskKey:
        """The key of the task that the path names. Raises Refusal (404) for a malformed id, without a D1 call."""
        if not is_task_id(self.parts["id"]):
            raise no_task()
        return task_key_of(self.tenant, self.parts["id"])

    def visible(self, task: Task) -> Task:
        """Return a task as the caller may see it: without its texts if the key lacks the scope `read`."""
        return task if self.may_read else without_content(task)
