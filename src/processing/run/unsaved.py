"""What a run has not saved yet, and the numbers of the writes that carry it. Pure."""

from typing import Any

from ...store.records.claims import CallKey, FailedCall, Output


class UnsavedProgress:
    """Outputs and failures since the last write that was saved, under a claim whose row was last written as `step`.

    A write that fails may have landed, or may still land. A failed write keeps its number while it is sent again. Once
    it is given up, the next write has another number, and names the first one. Under that number the outputs of an
    earlier write stay the same pieces.
    """

    def __init__(self, step: int) -> None:
        self.outputs: list[Output] = []
        self.failures: dict[CallKey, FailedCall] = {}
        self._first_step = self._step = step + 1
        self._tries: list[int] = []  # the number of outputs that each unconfirmed write carried

    def __bool__(self) -> bool:
        return bool(self.outputs or self.failures)

    def next_write(self) -> dict[str, Any]:
        """Return the content of the next write, as members of a `Progress`."""
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
        """Record that a write is not sent again."""
        self._step += 1

    def saved(self) -> None:
        """Forget what is saved now."""
        self._first_step = self._step = self._step + 1
        self.outputs.clear()
        self.failures.clear()
        self._tries.clear()
