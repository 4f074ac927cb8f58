"""HTTP requests and answers, between the SDK's types and the HTTP layer's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..http.messages import BodyBroken, BodyTooLarge, Reply

if TYPE_CHECKING:
    import workers


class IncomingRequest:
    """Implements `http.messages.Request` over the SDK's request; the body is read as it streams in."""

    def __init__(self, request: "workers.Request") -> None:
        self._request = request.js_object
        self.method = str(self._request.method)
        self.url = str(self._request.url)
        self.headers: Mapping[str, str] = {str(name).lower(): str(value) for name, value in self._request.headers}

    async def read(self, most: int) -> bytes:
        """Read the body. Raises BodyTooLarge once more than `most` bytes have come, and BodyBroken."""
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


def outgoing(reply: Reply) -> "workers.Response":
    """Make the SDK's response."""
    from workers import Response

    body = reply.body or None
    return Response(body, status=reply.status, headers=dict(reply.headers))
