"""The messages of both queues: `{"taskId": …}` with a task's key. Other bodies are not trusted."""

from collections.abc import Sequence
from typing import Protocol

from ..core.ids import TaskKey, read_task_key

QUEUE = "ai-processing-queue"
DEAD_LETTERS = "ai-processing-dlq"


class QueueMessage(Protocol):
    """One delivery of a message.

    `attempts` is the number of the message's present delivery, 1 for the first one. Only the first call of `ack` or
    `retry` for a message counts.
    """

    id: str
    body: object
    attempts: int

    def ack(self) -> None:
        """Mark the message as done."""
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
    """Return the task's key from a message's body, or None if the message is not ours."""
    text = body.get("taskId") if isinstance(body, dict) else None
    return read_task_key(text) if isinstance(text, str) else None
