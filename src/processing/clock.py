"""The clock by which a run judges its own time."""

import asyncio


def now() -> float:
    """Return the event loop's steady clock, in seconds: on Workers it stands still between awaits."""
    return asyncio.get_running_loop().time()
