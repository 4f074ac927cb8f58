"""What a lane does: makes a group of calls at once and says what each gave. It keeps nothing."""

import asyncio

from ..core.errors import ModelError, ModelTimeout
from ..inference import wire
from ..inference.protocol import ModelReply, Provider
from ..inference.wire import Wire


async def infer_all(provider: Provider, calls: list[Wire], seconds: float) -> list[Wire]:
    """Make each call within `seconds` and return the outcomes in the calls' order."""

    async def one(call: Wire) -> Wire:
        outcome: ModelReply | ModelError
        try:
            async with asyncio.timeout(seconds):
                outcome = await provider.infer(wire.read_call(call))
        except TimeoutError:
            outcome = ModelTimeout(f"no reply from the model within {seconds:g} s")
        except ModelError as error:
            outcome = error
        return wire.write_outcome(outcome)

    return list(await asyncio.gather(*(one(call) for call in calls)))
