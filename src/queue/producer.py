"""Sends tasks to the queue."""

import math
from typing import Protocol

from ..kernel.domain import limits
from ..kernel.domain.ids import TaskKey
from ..kernel.domain.task import Route
from . import messages


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
        await self._queue.send(messages.write(task_key), {"delaySeconds": delay})
