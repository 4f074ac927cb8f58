"""Simulates the producer's side of a queue: which messages a binding accepts or refuses, and how sends fail."""

from collections.abc import Coroutine
from typing import Any

from simulator.platform.binding_port import CONNECTION_LOST, JsError, Port, Reply
from simulator.platform.queues import QueueServer
from simulator.platform.structured_clone import to_json

MESSAGE_BYTES_MOST = 128_000
DELAY_SECONDS_MOST = 43_200
BATCH_MESSAGES_MOST = 100
BATCH_BYTES_MOST = 256_000
_NAMES = {"queue.send": "Queue send", "queue.sendBatch": "Queue sendBatch"}


class QueueBinding:
    """The producer binding of a queue in one isolate."""

    def __init__(self, server: QueueServer, port: Port) -> None:
        self._server = server
        self._port = port

    def send(self, body: Any, options: dict[str, Any] | None = None) -> Coroutine[Any, Any, None]:
        """Send one message. The call returns when the queue has stored the message.

        Of the platform's `options`, only `delaySeconds` has an effect.
        """
        return self._send("queue.send", [(to_json(body), _delay(options or {}))])

    def sendBatch(  # noqa: N802 - the platform's name
        self, messages: list[dict[str, Any]], options: dict[str, Any] | None = None
    ) -> Coroutine[Any, Any, None]:
        """Send several messages, all or none. A message is a dict with `body`, and with `delaySeconds` if it waits."""
        default = _delay(options or {})
        sent = [(to_json(one["body"]), _delay(one) or default) for one in messages]
        return self._send("queue.sendBatch", sent)

    def _send(self, label: str, messages: list[tuple[str, float]]) -> Coroutine[Any, Any, None]:
        server = self._server

        def arrive(reply: Reply) -> None:
            sizes = [len(body.encode("utf-8", "replace")) for body, _delay in messages]
            if not messages:
                reply(None, JsError("sendBatch() requires at least one message", "TypeError"))
            elif (
                max(sizes, default=0) > MESSAGE_BYTES_MOST
                or sum(sizes) > BATCH_BYTES_MOST
                or len(sizes) > BATCH_MESSAGES_MOST
            ):
                reply(None, JsError(f"{_NAMES[label]} failed: Payload Too Large"))
            elif any(not 0 <= delay <= DELAY_SECONDS_MOST for _body, delay in messages):
                reply(None, JsError(f"{_NAMES[label]} failed: Bad Request"))
            elif server.faults.fires("send_failed", server.name):
                reply(None, JsError(f"{_NAMES[label]} failed: Too Many Requests"))
            else:
                for body, delay in messages:
                    server.accept(body, delay)
                lost = server.faults.fires("send_reply_lost", server.name)
                reply(None, JsError(CONNECTION_LOST) if lost else None)

        return self._port.call(label, arrive, sends=True)


def _delay(options: dict[str, Any]) -> float:
    return float(options.get("delaySeconds") or 0)
