"""A retry of a completed task that has gaps is a new task for the chunks of the gaps."""

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from ...kernel.api.tasks.submission import accepted_reply, admitted, cut_flaws, limit_reached, replayed
from ...kernel.domain.errors import StoreUnavailable
from ...kernel.domain.ids import TaskKey, split_task_key
from ...kernel.domain.task import Kind, Status, Task
from ...kernel.feature import KindApi
from ...kernel.store.admission import Accepted, LimitReached, Replayed
from ...kernel.work.submission import REPLAYS_MOST, BudgetTooSmall, Submission, Submitted
from .gap_retries import GapRetryStore


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


async def retry_gaps(
    submission: Submission, old_key: TaskKey, max_calls: int | None = None, max_cost: int | None = None
) -> Submitted | LimitReached | None:
    """Submit a new task that retries the gaps of a completed task.

    For a day, a repeated request gets the same new task again, also after a StoreError. Returns None if the old task
    has not completed with gaps, or was erased. Raises BudgetTooSmall.
    """
    store = submission.store.beside(GapRetryStore)
    retry = await store.plan_gap_retry(old_key)
    if retry is None:
        return None
    if max_calls is not None and max_calls < retry.minimum_calls:
        raise BudgetTooSmall(retry.minimum_calls)
    tenant, old_id = split_task_key(old_key)
    # The idempotency key for a retry of gaps begins with a space, so it differs from every key of a client. The
    # characters of the gaps were already counted against the day's limit when the old task was submitted.
    conditions = submission.conditions(f" gaps of {old_id}", old_id)._replace(characters_a_day_most=None)
    for _ in range(REPLAYS_MOST):
        task_key = submission.task_key(tenant)
        outcome = await submission.refused_by_storage(task_key, conditions) or await store.retry_gaps(
            retry,
            task_key,
            route=submission.dispatcher.first_route,
            created_at=submission.now_ms(),
            unclaimed_ms=submission.settings.lease_ms,
            on=conditions,
            max_calls=max_calls,
            max_cost=max_cost,
        )
        # it may only seem that the limit is reached, because the old task was just erased
        if isinstance(outcome, LimitReached):
            return outcome if await store.has_gaps(old_key) else None
        task = await submission.store.task(outcome.task_key if isinstance(outcome, Replayed) else task_key)
        if isinstance(outcome, Accepted):
            submission.after_answer(_send(submission, task_key, crowded=outcome.crowded))
        if task is not None:
            return Submitted(task, replayed=not isinstance(outcome, Accepted))
        # The new task was just erased, together with its idempotency key, so another task is written.
    raise StoreUnavailable("the retry of the gaps is erased again and again")


async def _send(submission: Submission, task_key: TaskKey, *, crowded: bool) -> None:
    route = await submission.dispatcher.dispatch(task_key, crowded=crowded)
    submission.log("gaps_retried", task=task_key, route=route, crowded=crowded or None, **submission.meter.facts())
