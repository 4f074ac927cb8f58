"""Sends tasks to the queue."""

import math
from typing import Protocol

from ..core import limits
from ..core.ids import TaskKey
from ..core.task import Route
from . import messages


class Queue(Protocol):
    """The producer binding, as the SDK shows it."""

    async def send(self, body: dict[str, str], options: dict[str, int]) -> object:
        """Accept one message, durably, or raise."""
        ...


class QueueSender:
    """The queue route: one message asks for one run."""

    route = Route.QUEUE

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Send the message, to be delivered after the delay, rounded up to whole seconds."""
        delay = min(limits.QUEUE_DELAY_SECONDS_MOST, math.ceil(delay_seconds))
        await self._queue.send(messages.write(task_key), {"delaySeconds": delay})
