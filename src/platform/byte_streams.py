"""Reads bodies of requests in chunks, and sends answers of bytes: the two directions of files.

Each call into JavaScript costs as much as copying some 100 KB, so the runtime itself fills chunks and sends pieces.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from ..http.base.messages import BodyBroken, PipedBytes
from .crossing import into_javascript

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsNull

CHUNK_BYTES = 256 * 1024


async def read_chunks(body: "js.ReadableStream | JsNull") -> AsyncGenerator[bytes]:
    """Read a request's body in chunks of CHUNK_BYTES. The last one may be shorter. Raises BodyBroken.

    If the generator is closed before its end, the body is cancelled.
    """
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
            # The stream has taken the memory of the array, and gives it back with the bytes.
            place = Uint8Array.new(part.value.buffer)
    finally:
        if not is_over:
            await reader.cancel()


async def send_content(pieces: AsyncGenerator[bytes | PipedBytes], writable: "js.WritableStream") -> None:
    """Send an answer's bytes. A piece in a bucket goes to the client without Python.

    When a piece cannot be sent, the client has left, or the bucket has failed. Then the answer is cut off.
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
