"""Handles the messages of the task queue: runs the task that each message names.

A message is acknowledged when its task no longer needs it: the task has ended, another worker has a live lease, another
message continues the task, or the sweep will find the task in D1. Only after a failure that may be the fault of the
task itself does the queue deliver the message again, and finally move it to the dead-letter queue.
"""

from collections.abc import Awaitable, Callable

from ..kernel.domain import limits
from ..kernel.domain.errors import ConfigurationError, SchemaMissing, StoreFull, StoreQuotaExhausted, StoreUnavailable
from ..kernel.domain.ids import TaskKey
from ..kernel.run.context import Released
from ..kernel.run.log import Log
from ..kernel.work.dispatch import Dispatcher
from ..kernel.work.worker import Host, Worker
from . import messages
from .messages import QueueBatch, QueueMessage

type LeaveTask = Callable[[TaskKey], Awaitable[None]]


async def consume(
    batch: QueueBatch, worker: Worker, dispatcher: Dispatcher, host: Host, leave: LeaveTask, log: Log
) -> None:
    """Handle a batch's messages one by one. `leave` is called for each task with which the host has finished."""
    for message in batch.messages:
        bound = log.bind(message=message.id, delivery=message.attempts)
        await _consume(message, worker, dispatcher, host, leave, bound)


async def _consume(
    message: QueueMessage, worker: Worker, dispatcher: Dispatcher, host: Host, leave: LeaveTask, log: Log
) -> None:
    task_key = messages.read(message.body)
    if task_key is None:
        log("unreadable_message")
        message.ack()
        return
    # the batch's earlier messages used up the invocation's allowance, and a new message runs in a new invocation
    if not worker.can_afford_run:
        log("no_room", task=task_key)
        await dispatcher.dispatch(task_key)
        message.ack()
        return
    try:
        outcome = await worker.run(task_key, host)
    except (StoreUnavailable, SchemaMissing) as error:
        # An outage of D1, or missing migrations, are not the task's fault, so the message must not reach the
        # dead-letter queue. After its last delivery the sweep has the task; at once if the day's quota is used up or
        # the database is full, because each delivery would also use up a daily allowance.
        log("store_unavailable", task=task_key, error=error.code)
        if isinstance(error, StoreQuotaExhausted | StoreFull):
            message.ack()
        else:
            _put_off(message)
        return
    except Exception as error:  # noqa: BLE001 - the queue's retries and dead letters bound any error
        log.failure("run_failed", error, task=task_key)
        message.retry({"delaySeconds": 0})
        return
    if isinstance(outcome, Released):
        await dispatcher.dispatch(task_key, outcome.delay_seconds)
        message.ack()
    else:
        message.ack()
        await leave(task_key)


def put_off(batch: QueueBatch, error: ConfigurationError, log: Log) -> None:
    """Ask the queue to deliver a batch's messages later, because a variable is bad and no task can run.

    The batch may come from the task queue or from the dead-letter queue. If a dead letter is finally given up, its task
    does not change, and the sweep dispatches the task when tasks can run again.
    """
    for message in batch.messages:
        log.bind(message=message.id, delivery=message.attempts).misconfigured(error)
        _put_off(message)


def _put_off(message: QueueMessage) -> None:
    """Ask the queue to deliver a message later; its last delivery leaves the task to the sweep."""
    if message.attempts >= limits.QUEUE_DELIVERIES:
        message.ack()
    else:
        message.retry({"delaySeconds": limits.QUEUE_RETRY_SECONDS})
