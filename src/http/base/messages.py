"""The types of an HTTP request and of an HTTP answer.

The module `messages` imports nothing of the application.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

# The parameters of a URL's query, by name.
Query = Mapping[str, str]


class BodyTooLarge(Exception):
    """Raised if a request's body is larger than its reader allows. Reading stopped at the limit."""


class BodyBroken(Exception):
    """A request's body ended too early, or its framing does not match its headers: the client may have gone away."""


class CutOff(Exception):
    """Raised while an answer is sent in parts, to end the answer before its last part.

    After a CutOff the Worker aborts the connection, so that the client does not take the answer for complete.
    """


class PipedBytes(Protocol):
    """Bytes that the platform sends to the client without Python, such as those of `core.files.Piped`."""

    async def pipe_to(self, writable: object) -> None:
        """Send the bytes to a stream of the platform. Raises the platform's error if the sending fails."""
        ...


class Request(Protocol):
    """One HTTP request. Header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]

    async def read(self, most: int) -> bytes:
        """Read the request's body as it streams in. Raises BodyTooLarge above `most` bytes."""
        ...

    def chunks(self) -> AsyncGenerator[bytes]:
        """Read the request's body in chunks, as it streams in. Raises BodyBroken.

        If the generator is closed before its end, the rest of the body is not read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `body` is UTF-8 text, empty for an answer without a body.

    An answer with `parts` has no `body`: its text is sent in parts, and each part is made when it is sent. If making a
    part raises an error, the connection is cut off, so the client sees that the answer is incomplete.

    An answer with `content` has no `body` either: its bytes are made when they are sent, as parts are. The header
    `Content-Length` of this answer gives the number of its bytes.
    """

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: AsyncGenerator[str] | None = None
    content: AsyncGenerator[bytes | PipedBytes] | None = None


def json_reply(
    status: int, value: object, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Reply:
    """Answer with JSON."""
    return Reply(status, json.dumps(value, ensure_ascii=False), {"Content-Type": media_type, **(headers or {})})
