"""Implements the courier of webhooks with `fetch`: status and headers, as a body may have any size."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..kernel.calls.protocol import HttpConnectionLost, HttpTimeout
from .crossing import Crossing
from .http_client import HttpExchange

if TYPE_CHECKING:
    from js import Network


class FetchCourier:
    """Sends each message once. `network` is a local binding that cannot reach private addresses."""

    def __init__(self, network: "Network | None" = None) -> None:
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
