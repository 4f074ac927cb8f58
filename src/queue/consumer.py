"""Runs the tasks that messages name.

A message is acknowledged as soon as D1 will certainly bring the task back: the task has ended, another worker's lease
is live, or a continuation or the sweep is due. Only failures that may be the task's own fault go to the queue's
retries, and after them to the dead letters.
"""

from collections.abc import Awaitable, Callable

from ..core import limits
from ..core.errors import ConfigurationError, SchemaMissing, StoreFull, StoreQuotaExhausted, StoreUnavailable
from ..core.ids import TaskKey
from ..processing.dispatch import Dispatcher
from ..processing.log import Log
from ..processing.outcomes import Released
from ..processing.worker import Host, Worker
from . import messages
from .messages import Batch, QueueMessage

type LeaveTask = Callable[[TaskKey], Awaitable[None]]


async def consume(batch: Batch, worker: Worker, dispatcher: Dispatcher, host: Host, leave: LeaveTask, log: Log) -> None:
    """Handle the messages of the batch one by one.

    `leave` is called for each task that this host has finished with.
    """
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
    if not worker.can_afford_run:  # earlier messages of the batch used the allowance up; a new message gets a new one
        log("no_room", task=task_key)
        await dispatcher.dispatch(task_key)
        message.ack()
        return
    try:
        outcome = await worker.run(task_key, host)
    except (StoreUnavailable, SchemaMissing) as error:
        # An outage, or a deployment ahead of its migrations, is not the task's fault, so the task must not reach the
        # dead letters. The last delivery is left to the sweep. The first delivery is also left to the sweep if only the
        # next day or more space in a full database helps, because deliveries also cost a daily allowance.
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


def put_off(batch: Batch, error: ConfigurationError, log: Log) -> None:
    """Put off the messages of either queue: a variable is bad, so no task can run, and no task is at fault.

    A dead letter that is given up leaves its task as it is. The sweep dispatches the task again once it can run.
    """
    for message in batch.messages:
        log.bind(message=message.id, delivery=message.attempts).misconfigured(error)
        _put_off(message)


def _put_off(message: QueueMessage) -> None:
    """Ask for the message again later. The last delivery is left to the sweep instead of the dead letters."""
    if message.attempts >= limits.QUEUE_DELIVERIES:
        message.ack()
    else:
        message.retry({"delaySeconds": limits.QUEUE_RETRY_SECONDS})
