"""Converts HTTP requests and answers between the SDK's types and the types of the package `http`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from ..kernel.api.base.messages import BodyBroken, BodyTooLarge, CutOff, Reply
from .crossing import Crossing, into_javascript, says_at_most

if TYPE_CHECKING:
    import js
    import workers


class IncomingRequest:
    """Implements `Request` over the SDK's: headers as one text, and the body at once if its length is known."""

    def __init__(self, request: "workers.Request") -> None:
        self._request = request.js_object
        self.method = str(self._request.method)
        self.url = str(self._request.url)
        self.headers: Mapping[str, str] = Crossing().entries(self._request.headers)

    async def read(self, most: int) -> bytes:
        """Read the body. Raises BodyTooLarge above `most` bytes, and BodyBroken if reading fails."""
        from pyodide.ffi import JsException

        if not says_at_most(self.headers, most):
            return await self._read_parts(most)
        try:
            received = (await self._request.arrayBuffer()).to_bytes()
        except JsException:
            raise BodyBroken from None
        if len(received) > most:
            raise BodyTooLarge
        return received

    async def _read_parts(self, most: int) -> bytes:
        from pyodide.ffi import JsException

        body = self._request.body
        if not body:
            return b""
        reader = body.getReader()
        received = bytearray()
        while True:
            try:
                part = await reader.read()
            except JsException:
                raise BodyBroken from None
            if part.done:
                return bytes(received)
            received += part.value.to_bytes()
            if len(received) > most:
                await reader.cancel()
                raise BodyTooLarge

    def chunks(self) -> AsyncGenerator[bytes]:
        """Read the body in chunks. Raises BodyBroken if reading fails."""
        from .byte_streams import read_chunks

        return read_chunks(self._request.body)


def outgoing(reply: Reply, wait_until: Callable[[Awaitable[None]], None]) -> "js.Response":
    """Make JavaScript's response by itself: the SDK's reads each header. `wait_until` keeps parts going."""
    import js

    options = into_javascript({"status": reply.status, "headers": dict(reply.headers)})
    if reply.content is not None:
        from .byte_streams import send_content

        sized = js.FixedLengthStream.new(int(reply.headers["Content-Length"]))
        wait_until(send_content(reply.content, sized.writable))
        return js.Response.new(sized.readable, options)
    if reply.parts is None:
        return js.Response.new(reply.body or None, options)
    stream = js.IdentityTransformStream.new()
    wait_until(_send(reply.parts, stream.writable.getWriter()))
    return js.Response.new(stream.readable, options)


async def _send(parts: AsyncGenerator[str], writer: "js.WritableStreamDefaultWriter") -> None:
    """Send an answer's parts, each when the last one is taken. It stops when the client has left."""
    from pyodide.ffi import JsException, to_js

    async with aclosing(parts):
        try:
            async for part in parts:
                try:
                    await writer.write(to_js(part.encode()))
                except JsException:
                    return
        except CutOff:
            # Aborting a stream drops data that its reader has taken but not sent. It takes the line feed only after it
            # has sent the last part, so only the line feed can be lost.
            with suppress(JsException):
                await writer.write(to_js(b"\n"))
            await writer.abort("the answer is incomplete")
            return
        except Exception:
            await writer.abort("the answer is incomplete")
            raise
        await writer.close()
