"""Counts the memory that large bodies and answers take, in the isolate's allowance."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from weakref import finalize

from ...domain import limits
from ...run.memory import MemoryAllowance, MemoryShare
from .messages import Reply, Request, content_length

_STREAM = "text/event-stream"  # A stream of events lasts for minutes, and holds little.


@asynccontextmanager
async def of_body(memory: MemoryAllowance, request: Request) -> AsyncIterator[None]:
    """Hold memory for a large JSON body (an upload takes its own, part by part). Raises MemoryShort."""
    size = _length(request)
    if size < limits.MEMORY_FREE_BYTES or request.headers.get("content-type", "").startswith("multipart/"):
        yield
        return
    share = await memory.share("request", size * limits.MEMORY_A_BYTE, limits.MEMORY_WAIT_SECONDS)
    try:
        yield
    finally:
        share.close()


def _length(request: Request) -> int:
    """Return how many bytes a body says that it has. One that does not say it counts as the default MAX_INPUT_BYTES."""
    length = content_length(request.headers)
    if length is not None:
        return min(length, limits.INPUT_BYTES_MOST * limits.BODY_ESCAPE_FACTOR)
    return limits.INPUT_BYTES_DEFAULT if "transfer-encoding" in request.headers else 0


async def of_answer(memory: MemoryAllowance, request: Request, reply: Reply) -> Reply:
    """Take the memory for an answer in parts until it is sent. Raises MemoryShort."""
    if reply.parts is None or request.method == "HEAD" or reply.headers.get("Content-Type", "").startswith(_STREAM):
        return reply
    return replace(reply, parts=await lent(memory, reply.parts))


async def lent[T](memory: MemoryAllowance, pieces: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """Take the memory for an answer whose pieces are read one after the other, until it is sent. Raises MemoryShort."""
    share = await memory.share("request", limits.MEMORY_ANSWER_BYTES, limits.MEMORY_WAIT_SECONDS)
    lending = _renewing(share, pieces)
    finalize(lending, share.close)  # an answer whose sending never begins runs no `finally`
    return lending


async def _renewing[T](share: MemoryShare, pieces: AsyncGenerator[T]) -> AsyncGenerator[T]:
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                share.renew()
                yield piece
    finally:
        share.close()
