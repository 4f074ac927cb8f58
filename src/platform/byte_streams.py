"""Reads and sends bytes of files in whole pieces: a call into JavaScript costs as much as copying 100 KB."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from ..kernel.api.base.messages import BodyBroken, PipedBytes
from .crossing import into_javascript

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsNull

CHUNK_BYTES = 256 * 1024


async def read_chunks(body: "js.ReadableStream | JsNull") -> AsyncGenerator[bytes]:
    """Read a body in chunks of CHUNK_BYTES; cancel it if closed early. Raises BodyBroken."""
    from js import Uint8Array
    from pyodide.ffi import JsException

    if not body:
        return
    reader = body.getReader(into_javascript({"mode": "byob"}))
    place, is_over = Uint8Array.new(CHUNK_BYTES), False
    try:
        while True:
            try:
                part = await reader.readAtLeast(CHUNK_BYTES, place)
            except JsException:
                is_over = True
                raise BodyBroken from None
            if part.done:
                is_over = True
                return
            yield part.value.to_bytes()
            # The stream has taken over the memory of the array, and returns this memory together with the bytes.
            place = Uint8Array.new(part.value.buffer)
    finally:
        if not is_over:
            await reader.cancel()


async def send_content(pieces: AsyncGenerator[bytes | PipedBytes], writable: "js.WritableStream") -> None:
    """Send an answer's bytes. A piece that is in a bucket is sent to the client without passing through Python.

    A piece that cannot be sent means that the client has left or that the bucket has failed. In both cases the answer
    is cut off.
    """
    from pyodide.ffi import JsException, to_js

    async with aclosing(pieces):
        try:
            async for piece in pieces:
                try:
                    if isinstance(piece, bytes):
                        writer = writable.getWriter()
                        await writer.write(to_js(piece))
                        writer.releaseLock()
                    else:
                        await piece.pipe_to(writable)
                except JsException:
                    return
        except Exception:
            await writable.abort("the answer is incomplete")
            raise
        await writable.close()
