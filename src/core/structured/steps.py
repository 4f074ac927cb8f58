"""The budget of one output's check, in steps, so that no schema and no output takes longer than the budget allows."""

from ..limits import CHECK_STEPS_EACH_1000_CHARS, CHECK_STEPS_LEAST


class StepsEnded(Exception):
    """The budget of a check is used up before it is known whether the value fits."""


class Steps:
    """What is left of a check's budget. A step takes some 3 microseconds in CPython, and 6 on the Workers runtime."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take steps from the budget, before the work that they stand for. Raises StepsEnded."""
        self._left -= steps
        if self._left < 0:
            raise StepsEnded


def steps_for(chars: int) -> int:
    """Return the budget of the check of an output with so many characters."""
    return max(CHECK_STEPS_LEAST, chars * CHECK_STEPS_EACH_1000_CHARS // 1_000)
