"""Runs the tasks that messages name.

A message is acknowledged as soon as D1 is sure to bring the task back without it: the task has ended, another
worker's lease is live, or a continuation or the sweep is due. Only what may be the task's own fault is left to
the queue's retries, and after them to the dead letters.
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
from .messages import Batch, Message

type LeaveTask = Callable[[TaskKey], Awaitable[None]]


async def consume(batch: Batch, worker: Worker, dispatcher: Dispatcher, host: Host, leave: LeaveTask, log: Log) -> None:
    """Handle each message of the batch, one after the other. `leave` is called for each task that is done with here."""
    for message in batch.messages:
        bound = log.bind(message=message.id, delivery=message.attempts)
        await _consume(message, worker, dispatcher, host, leave, bound)


async def _consume(
    message: Message, worker: Worker, dispatcher: Dispatcher, host: Host, leave: LeaveTask, log: Log
) -> None:
    task_key = messages.read(message.body)
    if task_key is None:
        log("unreadable_message")
        message.ack()
        return
    if not worker.can_afford_run:  # the batch's messages before this one took it; a message of its own has more
        log("no_room", task=task_key)
        await dispatcher.dispatch(task_key)
        message.ack()
        return
    try:
        outcome = await worker.run(task_key, host)
    except (StoreUnavailable, SchemaMissing) as error:
        # An outage, or a deployment ahead of its migrations, is not the task's fault: it must not end among the dead
        # letters. The last delivery is given up for the sweep, and the first one if only the next day helps,
        # or room in a full database: deliveries cost a daily allowance, too.
        log("store_unavailable", task=task_key, error=error.code)
        if isinstance(error, StoreQuotaExhausted | StoreFull):
            message.ack()
        else:
            _put_off(message)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the queue's retries and dead letters bound it
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
    """Put off the messages of either queue: a variable is bad, so nothing can run, and no task is to blame for it.

    A dead letter that is given up leaves its task as it is. The sweep sends it off again, once a sweep can run.
    """
    for message in batch.messages:
        log.bind(message=message.id, delivery=message.attempts).misconfigured(error)
        _put_off(message)


def _put_off(message: Message) -> None:
    """Ask for the message again later. The last delivery is given up for the sweep instead of the dead letters."""
    if message.attempts >= limits.QUEUE_DELIVERIES:
        message.ack()
    else:
        message.retry({"delaySeconds": limits.QUEUE_RETRY_SECONDS})
