"""Implements the bindings of Queues for the package `queue`: a producer, and the messages of a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..queue.messages import QueueBatch, QueueMessage
from .crossing import into_javascript, unwrapped

if TYPE_CHECKING:
    import js


def delivered(batch: QueueBatch) -> QueueBatch:
    """Return a batch of messages as the package `queue` reads it. The simulation's has no SDK wrapper."""
    raw = unwrapped(batch)
    return batch if raw is batch else IncomingBatch(raw)


class BoundQueue:
    """Implements `queue.messages.Queue`."""

    def __init__(self, binding: "js.Queue") -> None:
        self._binding = binding

    async def send(self, body: dict[str, str], options: dict[str, int]) -> None:
        """Send one message, which the queue has stored when `send` returns. Raises JsException."""
        await self._binding.send(into_javascript(body), into_javascript(options))


class IncomingBatch:
    """Implements `queue.messages.QueueBatch`."""

    queue: str
    messages: Sequence[QueueMessage]

    def __init__(self, batch: "js.MessageBatch") -> None:
        self.queue = str(batch.queue)
        self.messages = [IncomingMessage(message) for message in batch.messages]


class IncomingMessage:
    """Implements `queue.messages.Message`."""

    def __init__(self, message: "js.Message") -> None:
        self._message = message
        self.id = str(message.id)
        self.attempts = int(message.attempts)
        self.body: object = _body(message)

    def ack(self) -> None:
        """Mark the message as done."""
        self._message.ack()

    def retry(self, options: dict[str, int]) -> None:
        """Ask the queue to deliver the message again."""
        self._message.retry(into_javascript(options))


def _body(message: "js.Message") -> dict[str, object]:
    """Read only `taskId` from a message's body: one that is not ours may have any type, depth and size."""
    return {"taskId": getattr(message.body, "taskId", None)}
