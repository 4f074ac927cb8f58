"""The errors that end a simulation."""


class SimulationError(Exception):
    """The simulation cannot continue. The message names the cause, and what was happening."""


class Deadlock(SimulationError):
    """Nothing is ready, no timer is set, and the main coroutine has not ended."""


class StepsExceeded(SimulationError):
    """The run took more steps than allowed: most likely some code loops without waiting."""


class Livelock(SimulationError):
    """A turn does not end: code waits for a clock that stands still until the code is done."""
