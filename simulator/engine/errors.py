"""Why a simulation cannot go on."""


class SimulationError(Exception):
    """The simulation cannot go on; the message says why and what was going on."""


class Deadlock(SimulationError):
    """Nothing is ready, no timer is set, and the main coroutine has not ended."""


class StepsExceeded(SimulationError):
    """More steps than allowed: most likely something spins without waiting."""


class Livelock(SimulationError):
    """A turn does not end: code waits for a clock that stands still until the code is done."""
