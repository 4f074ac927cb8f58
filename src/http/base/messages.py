"""HTTP as this layer sees it: a request to read, and the answer to give.

This module knows nothing of the application.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

# The parameters of a URL's query, by name.
Query = Mapping[str, str]


class BodyTooLarge(Exception):
    """The body passed the size that the reader allowed. Reading stopped there."""


class BodyBroken(Exception):
    """The body ended too early, or its framing does not match its headers. The client may have gone away."""


class CutOff(Exception):
    """An answer that is sent in parts ends before its last part.

    The Worker aborts the connection, so that the client does not take the answer for complete.
    """


class Request(Protocol):
    """One HTTP request. Header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]

    async def read(self, most: int) -> bytes:
        """Read the body as it streams in. Raises BodyTooLarge above `most` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `body` is UTF-8 text, empty for none.

    With `parts` there is no `body`: the text is sent in parts, each made when it is sent. An error in a part cuts the
    answer off, so that its reader knows that it is not complete.
    """

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: AsyncGenerator[str] | None = None


def json_reply(
    status: int, value: object, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Reply:
    """Answer with JSON."""
    return Reply(status, json.dumps(value, ensure_ascii=False), {"Content-Type": media_type, **(headers or {})})
