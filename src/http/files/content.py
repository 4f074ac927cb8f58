"""Sends the bytes of a file, part by part. Parts in R2 go from the bucket to the client without Python."""

import re
from collections.abc import AsyncGenerator
from urllib.parse import quote

from ...core.files import File, Piped
from ..base.exchange import Exchange
from ..base.messages import Reply

MEDIA_TYPE = "application/octet-stream"
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._()+-]")


async def content_reply(exchange: Exchange, file: File) -> Reply:
    """Send a file as an attachment. Of a file that a batch still writes, the lines so far are sent.

    The first part is opened before the answer begins, so that a bucket that does not answer refuses the request. Raises
    BlobUnavailable, and BlobMissing if the file was erased just now.
    """
    headers = {"Content-Type": MEDIA_TYPE, "Content-Disposition": disposition(file.filename)}
    if file.growing or not exchange.query.keys().isdisjoint({"offset", "limit"}):
        from . import early  # noqa: PLC0415 - only batches need it (docs/decisions/python.md#d0033)

        lines = await early.lines_reply(exchange, file, early.wanted(exchange.query), headers)
        if lines is not None:
            return lines
        headers[early.INCOMPLETE] = "true"  # an error file, whose parts all end with a line
    headers["Content-Length"] = str(sum(part.bytes for part in file.parts))
    if exchange.request.method == "HEAD" or not file.parts:
        return Reply(200, headers=headers)
    pieces = exchange.api.files.pieces(file)
    return Reply(200, headers=headers, content=_content(await anext(pieces), pieces))


async def _content(first: bytes | Piped, rest: AsyncGenerator[bytes | Piped]) -> AsyncGenerator[bytes | Piped]:
    yield first
    del first
    async for piece in rest:
        yield piece


def disposition(filename: str) -> str:
    """Return a Content-Disposition that names a file in ASCII, and once more in UTF-8 (RFC 6266)."""
    plain = _UNSAFE.sub("_", filename)
    encoded = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{encoded}'
