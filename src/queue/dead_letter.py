"""Handles the dead-letter queue: fails the tasks whose messages used up their deliveries."""

from ..kernel.domain import limits
from ..kernel.domain.codes import TaskCode
from ..kernel.domain.errors import StoreError
from ..kernel.domain.settings import Settings
from ..kernel.domain.task import Failure
from ..kernel.run.log import Log
from ..kernel.store.tasks import TaskStore
from . import messages
from .messages import QueueBatch

FAILURE = Failure(
    TaskCode.DEAD_LETTERED,
    f"the task's message failed {limits.QUEUE_DELIVERIES} deliveries; the log of its run names the error",
    True,
)


async def bury(batch: QueueBatch, store: TaskStore, settings: Settings, log: Log) -> None:
    """Fail the task of each message, unless a worker has the task, or the task must wait until a time, or has ended."""
    for message in batch.messages:
        task_key = messages.read(message.body)
        if task_key is None:
            log("unreadable_dead_letter", message=message.id)
            message.ack()
            continue
        try:
            failed = await store.dead_letter(task_key, FAILURE, settings.retention_ms)
        except StoreError as error:
            log("store_unavailable", task=task_key, error=error.code)
            message.retry({"delaySeconds": limits.QUEUE_RETRY_SECONDS})
            continue
        log("dead_lettered", task=task_key, message=message.id, failed=failed)
        message.ack()
