"""Keeps the progress that a run has not saved yet, and the numbers of the writes that contain it. Pure."""

from typing import Any

from ...store.records.claims import CallKey, FailedCall, Output


class UnsavedProgress:
    """The outputs and failures since the last saved write.

    `step` is the number of the row's last write at the time of the claim. A write of progress that failed may have
    taken effect, or may still take effect. A failed write keeps its number as long as it is sent again. After a failed
    write was given up, the next write has the next number, and also names the number of the first unconfirmed write
    (`first_step`). The next write divides the outputs into the same pieces as the unconfirmed writes did; `tries` says
    how they were divided.
    """

    def __init__(self, step: int) -> None:
        self.outputs: list[Output] = []
        self.failures: dict[CallKey, FailedCall] = {}
        self._first_step = self._step = step + 1
        self._tries: list[int] = []  # for each write that was not confirmed, how many outputs it contained

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

    @property
    def last_step(self) -> int:
        """The number of the last write that took effect or was given up."""
        return self._step - 1

    def given_up(self) -> None:
        """Note that a failed write will not be sent again."""
        self._step += 1

    def saved(self) -> None:
        """Note that the last write is saved, and drop its content."""
        self._first_step = self._step = self._step + 1
        self.outputs.clear()
        self.failures.clear()
        self._tries.clear()
