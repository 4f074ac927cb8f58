"""What a run has not told the store yet, and under which numbers it tells it."""

from typing import Any

from ...store.claims import CallKey, FailedCall, Output


class Untold:
    """Outputs and failures since the last write that was saved, under a claim whose row was last written as `step`.

    A write that fails may have landed, or may land yet. While it is sent again it keeps its number. Once it is given up
    its successor has another one, and names the first, under which outputs that were told already stay what they are.
    """

    def __init__(self, step: int) -> None:
        self.outputs: list[Output] = []
        self.failures: dict[CallKey, FailedCall] = {}
        self._first_step = self._step = step + 1
        self._tries: list[int] = []  # how many outputs each write told that was not confirmed

    def __bool__(self) -> bool:
        return bool(self.outputs or self.failures)

    def tell(self) -> dict[str, Any]:
        """Give what the next write says of it, as members of a `Progress`."""
        tries = tuple(self._tries)
        self._tries.append(len(self.outputs))
        return {
            "step": self._step,
            "first_step": self._first_step,
            "outputs": tuple(self.outputs),
            "tries": tries,
            "failures": tuple(self.failures.values()),
        }

    def given_up(self) -> None:
        """Take note that a write is not sent again."""
        self._step += 1

    def saved(self) -> None:
        """Forget what the store has been told."""
        self._first_step = self._step = self._step + 1
        self.outputs.clear()
        self.failures.clear()
        self._tries.clear()
