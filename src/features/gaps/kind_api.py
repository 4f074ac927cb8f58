"""A retry of a completed task that has gaps is a new task for the chunks of the gaps."""

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from ...kernel.api.tasks.submission import accepted_reply, admitted, cut_flaws, limit_reached, replayed
from ...kernel.domain.task import Kind, Status, Task
from ...kernel.feature import KindApi
from ...kernel.store.admission import LimitReached
from .submission import retry_gaps


class GapsApi(KindApi):
    """Retries gaps."""

    async def retry(self, exchange: Exchange, task: Task, max_calls: int | None, max_cost: int | None) -> Reply | None:
        """Submit a new task for the gaps of a completed one, or find the task that an earlier request submitted."""
        if task.kind is Kind.BATCH or task.status is not Status.COMPLETED or not task.failed:
            return None
        api = exchange.api
        with admitted(api), cut_flaws():
            outcome = await retry_gaps(api.submission, task.task_key, max_calls, max_cost)
        if isinstance(outcome, LimitReached):
            raise limit_reached(outcome.limit, api)
        return None if outcome is None else await accepted_reply(exchange, outcome.task, replayed(outcome))
