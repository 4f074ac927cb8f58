"""Reads the variables of a deployment one by one, and collects the faults of all variables."""

from collections.abc import Callable

from .errors import ConfigurationError

# `Variables` is a function from a variable's name to the variable's value, which is None if the variable is not set.
# Values without quotes in wrangler.toml arrive as numbers or bools.
Variables = Callable[[str], object]


class Reading:
    """Reads variables of the deployment, and remembers which variables were read and which were refused."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self.asked: set[str] = set()
        self.faults: list[ConfigurationError] = []

    def __call__(self, name: str) -> object:
        """Return the value of a variable, or None if it is not set."""
        self.asked.add(name)
        return self._variables(name)

    def refuse(self, name: str, takes: str) -> None:
        """Record that a variable's value is bad, without raising an error.

        Only the first fault of a variable is kept.
        """
        if not self.refused(name):
            self.faults.append(ConfigurationError(name, takes))

    def refused(self, *names: str) -> bool:
        """Whether any of the given variables has a value that was refused."""
        return any(fault.variable in names for fault in self.faults)
