"""Simulated receivers of webhooks, which misbehave and record each message that reaches them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.engine.fault_kinds import RECEIVERS_HANG
from simulator.platform.binding_port import Reply
from src.kernel.calls.protocol import HttpConnectionLost, HttpTimeout

if TYPE_CHECKING:
    from simulator.platform.app import Env
    from simulator.platform.world import World

QUICK_SECONDS = (0.02, 2.0)
PATIENCE_SECONDS = 15.0  # How many seconds a sender waits for the answer of a receiver.


@dataclass(slots=True)
class ReceivedMessage:
    """A message that reached a receiver: its time (virtual seconds), id, URL and body, and whether it was accepted.

    `until` is when the sender got the answer or gave up. `behind` is by how many seconds the sender's own clock lagged
    when it sent the message: in a timer that is late after a freeze, the clock shows the time for which it was set.
    """

    at: float
    id: str
    url: str
    body: str
    taken: bool
    until: float
    behind: float


class Receivers:
    """All receivers of one world. `arriving` is called with each message before it is answered."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._gone: set[str] = set()
        self.hanging = ""  # The tenant whose receivers all hang while faults last.
        self.messages: list[ReceivedMessage] = []
        self.arriving: Callable[[ReceivedMessage], None] = lambda _message: None

    def serve(self, url: str, message_id: str, body: str, sender: str, reply: Reply, behind: float) -> None:
        """Receive one message, and answer it after a while with a status and headers, or with an error."""
        loop, faults = self._world.loop, self._world.faults
        seconds = faults.between(*QUICK_SECONDS)
        if faults.fires("receiver_closed", sender):
            loop.call_event(seconds, reply, None, HttpConnectionLost("refused"), context=loop.outside)
            return
        status, taken, headers, error = self._decide(url, sender)
        if status is None and error is None:
            seconds, error = 4 * PATIENCE_SECONDS, HttpTimeout("nobody waits for this")
        now = loop.now()
        message = ReceivedMessage(now, message_id, url, body, taken, now + min(seconds, PATIENCE_SECONDS), behind)
        faults.record("receiver", str(status or error), message_id)
        self.arriving(message)
        self.messages.append(message)
        loop.call_event(seconds, reply, None if error else (status, headers), error, context=loop.outside)

    def _decide(self, url: str, sender: str) -> tuple[int | None, bool, dict[str, str], Exception | None]:
        fires, between = self._world.faults.fires, self._world.faults.between
        hangs = self.hanging and url.startswith(f"https://{self.hanging}-") and self._world.faults.active
        if hangs and self._world.faults.strike(RECEIVERS_HANG, sender):
            return None, between(0, 1) < 0.5, {}, None
        if url in self._gone or fires("receiver_gone", sender, 0.2):
            self._gone.add(url)
            return 410, False, {}, None
        if fires("receiver_hung", sender):
            return None, between(0, 1) < 0.5, {}, None
        for kind, status, headers in (
            ("receiver_failed", 503, {}),
            ("receiver_redirected", 307, {"location": "https://elsewhere.example.com/"}),
            ("receiver_limited", 429, {"retry-after": "60"}),
        ):
            if fires(kind, sender):
                return status, False, headers, None
        lost = fires("receiver_reply_lost", sender)
        return (None, True, {}, HttpConnectionLost("lost")) if lost else (200, True, {}, None)


class SimulatedCourier:
    """The `processing.deliveries.Courier` of one simulated isolate."""

    def __init__(self, env: "Env", receivers: Callable[[], Receivers | None]) -> None:
        self._env = env
        self._receivers = receivers

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str]]:
        """Send a message once to the receiver at `url`, and return the answer's status and headers."""
        receivers = self._receivers()
        assert receivers is not None, "a message, and nobody has an endpoint"
        port: Any = self._env.DB._port
        isolate, message_id = self._env.platform.isolate, headers["webhook-id"]
        sender, behind = isolate.name, isolate.behind_seconds()
        call = port.call("webhook.post", lambda reply: receivers.serve(url, message_id, body, sender, reply, behind))
        try:
            async with asyncio.timeout(timeout_seconds):
                status, found = await call
        except TimeoutError:
            raise HttpTimeout("late") from None
        return status, found
