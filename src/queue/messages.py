"""The messages of both queues, `{"taskId": …}` with a task's key, and their sending. Any other body is ignored."""

import math
from collections.abc import Sequence
from typing import Protocol

from ..kernel.domain import limits
from ..kernel.domain.ids import TaskKey, read_task_key
from ..kernel.domain.task import Route

QUEUE = "ai-processing-queue"
DEAD_LETTERS = "ai-processing-dlq"


class QueueMessage(Protocol):
    """A delivery of a message, the `attempts`-th. Only its first `ack` or `retry` counts."""

    id: str
    body: object
    attempts: int

    def ack(self) -> None:
        """Mark the message as handled."""
        ...

    def retry(self, options: dict[str, int]) -> None:
        """Ask the queue for another delivery of the message, after `delaySeconds`."""
        ...


class QueueBatch(Protocol):
    """The messages of one queue that one invocation handles."""

    queue: str
    messages: Sequence[QueueMessage]


def write(task_key: TaskKey) -> dict[str, str]:
    """Make a message's body."""
    return {"taskId": task_key}


def read(body: object) -> TaskKey | None:
    """Return the task's key from the body of a message, or None if the project did not send the message."""
    text = body.get("taskId") if isinstance(body, dict) else None
    return read_task_key(text) if isinstance(text, str) else None


class Queue(Protocol):
    """The binding through which the Worker sends messages to a queue."""

    async def send(self, body: dict[str, str], options: dict[str, int]) -> object:
        """Send one message, which the queue has stored when `send` returns. Raises the binding's error."""
        ...


class QueueSender:
    """The route to the queue: each message asks for one run of a task."""

    route = Route.QUEUE

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Send a task's message, to be delivered after the delay, rounded up to whole seconds."""
        delay = min(limits.QUEUE_DELAY_SECONDS_MOST, math.ceil(delay_seconds))
        await self._queue.send(write(task_key), {"delaySeconds": delay})
