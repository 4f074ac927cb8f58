"""The network as providers see it (`inference.protocol.HttpClient`), over the runtime's `fetch`."""

from collections.abc import Mapping
from typing import Literal

import js
from pyodide.ffi import JsException, to_js
from workers import FetchKwargs, Response, fetch

from ..inference.protocol import HttpConnectionLost, HttpReply, HttpReplyTooLarge, HttpTimeout

# The SDK turns a rejected `fetch` into an AbortError, an OSError of its own that keeps the text and drops
# the name of the cause; a stream that breaks while it is read is a JsException. Neither tells a timeout
# from a lost connection, so the timeout's own signal is asked instead.
_TRANSPORT_ERRORS = (OSError, JsException)


class FetchClient:
    """Sends each request once; redirects come back as they are, so that no key follows one elsewhere."""

    async def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        max_reply_bytes: int,
    ) -> HttpReply:
        """Send and read the whole reply, body included, in `timeout_seconds`. Raises an `HttpError`."""
        timeout = js.AbortSignal.timeout(max(1, round(timeout_seconds * 1000)))
        # A call that ends early, by cancellation or by a reply too large, must free its connection: six may
        # wait at once. The SDK aborts while it waits for the headers, and leaves a body to the end of the
        # invocation.
        ending = js.AbortController.new()
        options: FetchKwargs = {
            "method": method,
            "headers": dict(headers),
            "redirect": "manual",
            "signal": js.AbortSignal.any(to_js([timeout, ending.signal])),
        }
        if body is not None:
            options["body"] = body
        whole = False
        try:
            response = await fetch(url, **options)
            received = await _read_body(response, max_reply_bytes)
            whole = True
        except _TRANSPORT_ERRORS:
            if timeout.aborted:
                raise HttpTimeout(f"no whole reply within {timeout_seconds:g} s") from None
            raise HttpConnectionLost("the connection was refused or lost") from None
        finally:
            if not whole:
                ending.abort()
        return HttpReply(status=response.status, headers=_headers(response), body=received)


async def _read_body(response: Response, max_reply_bytes: int) -> bytes:
    stream = response.body
    if stream is None:
        return b""
    reader = stream.getReader()
    received = bytearray()
    while not (part := await reader.read()).done:
        # The size is looked at before the bytes cross over from JavaScript, which copies them.
        if len(received) + part.value.byteLength > max_reply_bytes:
            raise HttpReplyTooLarge(f"the reply passed {max_reply_bytes} bytes")
        received += part.value.to_bytes()
    return bytes(received)


def _headers(response: Response) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in response.headers.items()}
