"""Implements the binding of Workers AI (`kernel.calls.workers_ai.AiBinding`) so that each call can be aborted."""

import asyncio
from collections.abc import Awaitable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING

from ..kernel.calls.protocol import HttpReply
from ..kernel.domain import limits
from .crossing import Crossing, unwrapped
from .http_client import HttpExchange

if TYPE_CHECKING:
    from js import Ai, Response
    from pyodide.ffi import JsProxy

# How long to wait for the end of an aborted call, which normally fails at once; some runtimes go on.
_ABORT_SECONDS = 1.0
_NO_QUEUE = {"rejectIfBusy": True}


class BoundAi:
    """The binding with options for each call: `env.AI.run(model, inputs, {signal, rejectIfBusy})`.

    `signal` aborts the call (workerd 6379, March 2026); an older runtime ignores it. Each call has its own
    AbortController, so no JavaScript object outlives the call (decision 0013).

    With `rejectIfBusy`, which is read only from the third argument, Workers AI refuses a call with 3040 at once when it
    has no capacity. A call whose time runs out in Workers AI's own queue would be in doubt:
    https://developers.cloudflare.com/workers-ai/features/reject-if-busy/ (September 2026).
    """

    def __init__(self, binding: "Ai") -> None:
        self._binding = binding

    async def run(self, model: str, inputs: dict[str, object]) -> object:
        """Run a model once. Cancelling `run` aborts the call, and then waits at most a second for the call's end."""
        from js import AbortController

        controller = AbortController.new()
        options = {"signal": controller.signal, **_NO_QUEUE}
        call = asyncio.ensure_future(self._binding.run(model, inputs, options))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            controller.abort()
            await asyncio.wait({call}, timeout=_ABORT_SECONDS)
            if not call.cancel() and not call.cancelled():
                call.exception()  # read the abort's error, so that asyncio does not report it as never retrieved
            raise

    async def run_through(self, model: str, inputs: dict[str, object], gateway: Mapping[str, object]) -> HttpReply:
        """Run a model once through an AI Gateway. With `returnRawResponse` the binding gives the answer's headers."""
        crossing, binding = Crossing(), unwrapped(self._binding)

        def run(model: str, options: "JsProxy") -> "Awaitable[Response]":
            answer: Awaitable[Response] = binding.run(model, crossing.into_javascript(inputs), options)
            return answer

        options = {"gateway": gateway, "returnRawResponse": True, **_NO_QUEUE}
        return await HttpExchange(crossing, SimpleNamespace(fetch=run)).run(model, options, limits.REPLY_BYTES_MOST)
