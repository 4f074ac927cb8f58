"""The messages of both queues: `{"taskId": …}` with a task's key. Any other body is not ours, and ignored."""

from collections.abc import Sequence
from typing import Protocol

from ..kernel.domain.ids import TaskKey, read_task_key

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
