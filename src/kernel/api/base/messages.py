"""The types of an HTTP request and answer, and the headers of answers. It imports nothing of the application."""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

# An answer is data for programs: no browser may guess its type, nor cache, frame or run it.
ON_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}

REQUEST_ID = "X-Request-Id"

MEANINGS = {
    "Location": "The path of the new task or key.",
    "Idempotency-Replayed": "`true` if an earlier request with this key, or an earlier try of this one, made the task.",
    "Retry-After": "Seconds to wait before asking again; absent if asking again cannot help.",
    "WWW-Authenticate": "What is missing: a key, or a key with the named scope (RFC 6750).",
    "openai-poll-after-ms": "`Retry-After` in milliseconds, as helpers of OpenAI's SDKs read it.",
    "x-should-retry": "`false` if an SDK's own repetition of the request would get the same answer.",
    "Allow": "The methods that the path takes.",
    "Content-Disposition": "`attachment`, with the file's name.",
    "Content-Length": "How many bytes the answer has.",
    "X-Incomplete": "`true` if the batch may still add lines, or if the file has lines behind these; else `false`.",
    "X-Last-Line": "The number of the last line of the answer, which is the `offset` of the next request.",
}

# Headers that an answer may lack although `/openapi.json` lists them for it.
SOMETIMES = frozenset(
    {"Retry-After", "Idempotency-Replayed", "openai-poll-after-ms", "x-should-retry", "X-Incomplete", "X-Last-Line"}
)


# The parameters of a URL's query, by name.
Query = Mapping[str, str]


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the size that a request gives of its body, None without or with a malformed Content-Length."""
    text = headers.get("content-length", "").strip()
    return int(text[:20]) if text.isascii() and text.isdigit() else None


class BodyTooLarge(Exception):
    """Raised if a request's body is larger than its reader allows. Reading stopped at the limit."""


class BodyBroken(Exception):
    """A request's body ended too early, or its framing does not match its headers: the client may have gone away."""


class CutOff(Exception):
    """Ends an answer in parts early: the connection is aborted, so that no client takes it for whole."""


class PipedBytes(Protocol):
    """Bytes that the platform sends to the client without Python, such as those of `features.files.file.Piped`."""

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
        """Read the body in chunks as it streams in; not the rest if closed early. Raises BodyBroken."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `body` is UTF-8 text, empty for an answer without a body.

    An answer with `parts` of text, or with `content` of bytes and a Content-Length, has no `body`. Each part is made
    when it is sent. If that raises an error, the connection is cut off, so the client sees that the answer is
    incomplete.
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
