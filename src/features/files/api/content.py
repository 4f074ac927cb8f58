"""Sends the bytes of a file, part by part. Parts in R2 go from the bucket to the client without Python."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from ....kernel.api.base.endpoint import Parameter
from ....kernel.api.base.exchange import Exchange
from ....kernel.api.base.messages import Query, Reply
from ....kernel.api.base.problems import FieldError, field_refusal
from ....kernel.domain import limits
from ....kernel.domain.ids import TaskKey
from ....kernel.feature import KindApi
from ..file import File, Piped
from ..store import file_store

MEDIA_TYPE = "application/octet-stream"
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._()+-]")

OFFSET, LIMIT = "offset", "limit"
INCOMPLETE, LAST_LINE = "X-Incomplete", "X-Last-Line"
_WHOLE = re.compile("[0-9]{1,9}")
_LINES_MOST = limits.BATCH_LINES_MOST

PARAMETERS = (
    Parameter(
        OFFSET,
        "Only of the output file of a batch: how many lines to leave out.",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    ),
    Parameter(
        LIMIT,
        "Only of the output file of a batch: how many lines at most. An answer may have fewer.",
        {"type": "integer", "minimum": 1, "maximum": _LINES_MOST},
    ),
)


class WantedLines(NamedTuple):
    """The lines that a request asks for: how many to leave out, and at most how many to send, None for all."""

    offset: int
    limit: int | None


def wanted(query: Query) -> WantedLines | None:
    """Read which lines a request asks for, None if it asks for the whole file. Raises Refusal (400) for a bad value."""
    if OFFSET not in query and LIMIT not in query:
        return None
    offset, limit = query.get(OFFSET, "0"), query.get(LIMIT)
    if not _WHOLE.fullmatch(offset):
        raise field_refusal([FieldError(OFFSET, "must be a whole number, the count of lines to leave out")])
    if limit is not None and not (_WHOLE.fullmatch(limit) and 1 <= int(limit) <= _LINES_MOST):
        raise field_refusal([FieldError(LIMIT, f"must be a whole number from 1 to {_LINES_MOST}")])
    return WantedLines(int(offset), None if limit is None else int(limit))


class LinesApi(KindApi):
    """What sends lines of a file that its owner, a task, may still be writing."""

    async def lines(
        self, exchange: Exchange, owner: TaskKey, file: str, asked: WantedLines, headers: Mapping[str, str]
    ) -> Reply | None:
        """Send the lines that are asked for. None if the owner has no such file."""
        raise NotImplementedError


async def content_reply(exchange: Exchange, file: File) -> Reply:
    """Send a file as an attachment. Of a file that a batch still writes, the lines so far are sent.

    The first part is opened before the answer begins, so that a bucket that does not answer refuses the request. Raises
    Refusal (400) if lines are asked for that the file has not, BlobUnavailable, and BlobMissing if the file was erased
    just now.
    """
    headers = {"Content-Type": MEDIA_TYPE, "Content-Disposition": disposition(file.filename)}
    asked = wanted(exchange.query)
    if file.growing or asked is not None:
        if file.owner is not None:
            owner, lines = TaskKey(file.owner), asked or WantedLines(0, None)
            for kind in (kind for kind in exchange.api.kind_apis() if isinstance(kind, LinesApi)):
                reply = await kind.lines(exchange, owner, file.key, lines, headers)
                if reply is not None:
                    return reply
        if asked is not None:
            raise field_refusal([FieldError(OFFSET, "and limit are only for the output file of a batch")])
        headers[INCOMPLETE] = "true"  # an error file, whose parts all end with a line
    headers["Content-Length"] = str(sum(part.bytes for part in file.parts))
    if exchange.request.method == "HEAD" or not file.parts:
        return Reply(200, headers=headers)
    pieces = file_store(exchange.api.invocation).pieces(file)
    return Reply(200, headers=headers, content=begun(await anext(pieces), pieces))


async def begun(first: bytes | Piped, rest: AsyncIterator[bytes | Piped]) -> AsyncGenerator[bytes | Piped]:
    """Give pieces of which the first is read already."""
    yield first
    del first
    async for piece in rest:
        yield piece


def disposition(filename: str) -> str:
    """Return a Content-Disposition that names a file in ASCII, and once more in UTF-8 (RFC 6266)."""
    plain = _UNSAFE.sub("_", filename)
    encoded = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{encoded}'
