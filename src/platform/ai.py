"""Workers AI's binding as the provider sees it (`inference.workers_ai.AiBinding`), with an abort for each call."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from js import Ai

# An aborted call fails at once. The limit of the wait is for a runtime in which an aborted call goes on.
_ABORT_SECONDS = 1.0


class BoundAi:
    """The binding, with a signal for each call: `env.AI.run(model, inputs, {signal})` (workerd 6379, March 2026).

    An older runtime ignores the signal. Each call has its own controller, so no JavaScript object outlives it (decision
    0013).
    """

    def __init__(self, binding: "Ai") -> None:
        self._binding = binding

    async def run(self, model: str, inputs: dict[str, object]) -> object:
        """Run a model once. A cancellation aborts the call, and waits at most a second for its end."""
        from js import AbortController

        controller = AbortController.new()
        call = asyncio.ensure_future(self._binding.run(model, inputs, {"signal": controller.signal}))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            controller.abort()
            await asyncio.wait({call}, timeout=_ABORT_SECONDS)
            if not call.cancel() and not call.cancelled():
                call.exception()  # retrieve the abort error, because nothing else does
            raise
