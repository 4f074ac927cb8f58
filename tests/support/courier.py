"""A stand-in for the network of webhooks; it records messages, and a test decides its answers."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Receiver = Callable[["Message"], "int | tuple[int, dict[str, str]] | Exception"]


@dataclass(frozen=True, slots=True)
class Message:
    url: str
    headers: Mapping[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)


class FakeCourier:
    """Stands in for the courier. `receiver` gives a status or error, after `seconds`, or what that returns."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.receiver: Receiver = lambda _message: 200
        self.seconds: float | Callable[[Message], float] = 0.0
        self.at_once = self.most_at_once = 0

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str]]:
        assert timeout_seconds == 15.0
        message = Message(url, dict(headers), body)
        self.messages.append(message)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds if isinstance(self.seconds, float) else self.seconds(message))
        finally:
            self.at_once -= 1
        answer = self.receiver(message)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, tuple) else (answer, {})
