"""The messages in the queues: one for each task, `{"taskId": …}` with its key. Hostile until read."""

from collections.abc import Sequence
from typing import Protocol

from ..core.ids import TaskKey, read_task_key

QUEUE = "ai-processing-queue"
DEAD_LETTERS = "ai-processing-dlq"


class QueueMessage(Protocol):
    """A delivery of a message. `attempts` starts at 1. Of several acks and retries only the first one counts."""

    id: str
    body: object
    attempts: int

    def ack(self) -> None:
        """Mark the message as done."""
        ...

    def retry(self, options: dict[str, int]) -> None:
        """Ask for another delivery, `delaySeconds` from now."""
        ...


class Batch(Protocol):
    """The deliveries of one invocation."""

    queue: str
    messages: Sequence[QueueMessage]


def write(task_key: TaskKey) -> dict[str, str]:
    """Make a message's body."""
    return {"taskId": task_key}


def read(body: object) -> TaskKey | None:
    """Return the task's key from a message's body, or None if the message is not ours."""
    text = body.get("taskId") if isinstance(body, dict) else None
    return read_task_key(text) if isinstance(text, str) else None
