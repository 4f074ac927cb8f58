"""A retry of a completed task that has gaps is a new task for the chunks of the gaps."""

from ...core.states import Status
from ...core.task import Kind, Task
from ...http.base.exchange import Exchange
from ...http.base.messages import Reply
from ...http.tasks.acceptance import accepted_reply, admitted, cut_flaws, replayed
from ...http.tasks.conditions import limit_reached
from ...kernel.feature import KindApi
from ...store.admission import LimitReached
from .submission import retry_gaps


class GapsApi(KindApi):
    """Retries gaps."""

    async def retry(self, exchange: Exchange, task: Task, max_calls: int | None) -> Reply | None:
        """Submit a new task for the gaps of a completed one, or find the task that an earlier request submitted."""
        if task.kind is Kind.BATCH or task.status is not Status.COMPLETED or not task.failed:
            return None
        api = exchange.api
        with admitted(api), cut_flaws():
            outcome = await retry_gaps(api.submission, task.task_key, max_calls)
        if isinstance(outcome, LimitReached):
            raise limit_reached(outcome.limit, api)
        return None if outcome is None else await accepted_reply(exchange, outcome.task, replayed(outcome))
