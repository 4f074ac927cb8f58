"""The errors that end a simulation."""


class SimulationError(Exception):
    """Raised when a simulation cannot continue. The message of the error names the cause and what was happening."""


class Deadlock(SimulationError):
    """Raised when no handle is ready and no timer is set, but the main coroutine has not ended."""


class StepsExceeded(SimulationError):
    """Raised when a run takes more steps than allowed: most likely some code loops without waiting."""


class Livelock(SimulationError):
    """Raised when a turn of code does not end, because the code waits for a clock that stands still in the turn."""
