"""Counts what one invocation spends. The counter is exact; the platform bills and limits by the same units."""


class Meter:
    """One invocation's subrequests: calls to D1, to a model, to a queue and to an object are one each."""

    def __init__(self) -> None:
        self.subrequests = 0

    def spend(self, subrequests: int = 1) -> None:
        """Book subrequests about to be made."""
        self.subrequests += subrequests
