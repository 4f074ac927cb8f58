"""The network with the runtime's `fetch`: the `HttpClient` of providers, and the courier of webhooks.

It is JavaScript's own `fetch`, because the SDK's hides the promise of the request. A caller that gives up a request
must still wait for the end of this promise.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from ..kernel.calls.protocol import HttpConnectionLost, HttpReply, HttpReplyTooLarge, HttpTimeout
from .crossing import Crossing, says_at_most

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsBuffer

# How long to wait for the end of an aborted promise, which normally fails at once; in some runtimes it stays.
_ABORT_SECONDS = 1.0


class FetchClient:
    """Sends each request once, and follows no redirect, so that no API key is sent to another host."""

    def __init__(self) -> None:
        self._crossing = Crossing()

    async def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: str | None,
        timeout_seconds: float | None,
        max_reply_bytes: int,
    ) -> HttpReply:
        """Send a request, and read the whole reply within `timeout_seconds`. Raises a subclass of `HttpError`.

        None: the caller cancels the request when its time is up. A timer costs as much as reading a reply's headers.
        """
        from pyodide.ffi import JsException

        options: dict[str, object] = {"method": method, "headers": dict(headers), "redirect": "manual"}
        if body is not None:
            options["body"] = body
        try:
            async with asyncio.timeout(timeout_seconds):
                return await HttpExchange(self._crossing).run(url, options, max_reply_bytes)
        except TimeoutError:
            raise HttpTimeout("no complete reply in time") from None
        except JsException:
            raise HttpConnectionLost("the connection was refused or lost") from None


class HttpExchange:
    """An HTTP request and its reply, with the AbortController that ends both, and the promise that is being awaited."""

    def __init__(self, crossing: Crossing, network: "js.Network | None" = None) -> None:
        self._crossing = crossing
        self._controller = crossing.new_controller()
        self._network = network
        self._promise: Awaitable[Any] | None = None

    async def run(self, url: str, options: Mapping[str, object], max_reply_bytes: int) -> HttpReply:
        """Send the request, and read the reply. No connection or promise stays after an error or a cancellation."""
        try:
            response = await self._sent(url, options)
            headers = self._crossing.entries(response.headers)
            if _whole_within(headers, max_reply_bytes):
                received = _bytes(await self._settled(response.arrayBuffer()), max_reply_bytes)
            else:
                received = await self._read_parts(response, max_reply_bytes)
        except (Exception, asyncio.CancelledError):
            await self._abandon()
            raise
        return HttpReply(status=int(response.status), headers=headers, body=received)

    async def status_of(self, url: str, options: Mapping[str, object]) -> tuple[int, dict[str, str]]:
        """Send the request, and read only the reply's status and headers. The body of the reply is dropped."""
        try:
            response = await self._sent(url, options)
            return int(response.status), self._crossing.entries(response.headers)
        finally:
            await self._abandon()

    async def _sent(self, url: str, options: Mapping[str, object]) -> "js.Response":
        asked: Any = self._crossing.into_javascript(options)
        asked.signal = self._controller.signal
        fetch = self._crossing.fetch if self._network is None else self._network.fetch
        response: js.Response = await self._settled(fetch(url, asked))
        return response

    async def _settled(self, promise: Awaitable[Any]) -> Any:
        self._promise = promise
        value = await promise
        self._promise = None
        return value

    async def _read_parts(self, response: "js.Response", max_reply_bytes: int) -> bytes:
        stream = response.body
        if not stream:
            return b""
        reader = stream.getReader()
        received = bytearray()
        while not (part := await self._settled(reader.read())).done:
            # The size is checked before the bytes are passed from JavaScript, which copies them.
            if len(received) + part.value.byteLength > max_reply_bytes:
                raise HttpReplyTooLarge(f"the reply exceeded {max_reply_bytes} bytes")
            received += part.value.to_bytes()
        return bytes(received)

    async def _abandon(self) -> None:
        """Abort the request, which frees its connection, and wait until its promise has ended.

        Only six connections of an invocation may wait at once. A promise that no code awaits any more would later call
        back into Python, perhaps after the end of the invocation (decision 0013).
        """
        from pyodide.ffi import JsException

        self._controller.abort()
        if self._promise is not None:
            with suppress(JsException, TimeoutError):
                async with asyncio.timeout(_ABORT_SECONDS):
                    await self._promise


class FetchCourier:
    """Sends each webhook message once, and reads no body, as it may have any size.

    `network` is a local binding that cannot reach private addresses.
    """

    def __init__(self, network: "js.Network | None" = None) -> None:
        self._network = network

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str]]:
        """Send a webhook message. Returns status and headers. Raises HttpTimeout or HttpConnectionLost."""
        from pyodide.ffi import JsException

        options: dict[str, object] = {"method": "POST", "headers": dict(headers), "redirect": "manual", "body": body}
        try:
            async with asyncio.timeout(timeout_seconds):
                return await HttpExchange(Crossing(), self._network).status_of(url, options)
        except TimeoutError:
            raise HttpTimeout(f"no answer within {timeout_seconds:g} s") from None
        except JsException:
            raise HttpConnectionLost("the connection was refused or lost") from None


def _whole_within(headers: Mapping[str, str], most: int) -> bool:
    """Whether the reply's headers show that its body has at most `most` bytes.

    They do not show the size of a compressed reply, whose Content-Length is the compressed size, or of a chunked one,
    whose Content-Length must be ignored (RFC 9112, 6.3).
    """
    is_encoded = "content-encoding" in headers or "transfer-encoding" in headers
    return not is_encoded and says_at_most(headers, most)


def _bytes(buffer: "JsBuffer", most: int) -> bytes:
    if buffer.byteLength > most:
        raise HttpReplyTooLarge(f"the reply exceeded {most} bytes")
    return buffer.to_bytes()
