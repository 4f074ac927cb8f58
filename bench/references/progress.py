"""Shows how many steps of a measurement are done, and estimates how long the others will take."""

from collections.abc import Hashable, Sequence


class Remaining:
    """Estimates the time of the steps that are not yet done.

    If a step of the same kind has been measured, its time is the estimate. If no such step has been measured, the
    estimate is the guess for the step, scaled by the error of the guesses for the measured steps.
    """

    def __init__(self, steps: Sequence[tuple[Hashable, float]]) -> None:
        self._steps = list(steps)
        self._done = 0
        self._took: dict[Hashable, list[float]] = {}
        self._guessed = 0.0
        self._spent = 0.0

    def finished(self, seconds: float) -> None:
        """Record that the next step is done, and how many seconds the step took."""
        kind, guess = self._steps[self._done]
        self._took.setdefault(kind, []).append(seconds)
        self._guessed += guess
        self._spent += seconds
        self._done += 1

    @property
    def seconds(self) -> float:
        """The estimated number of seconds until all steps are done."""
        correction = self._spent / self._guessed if self._guessed else 1.0
        return sum(self._estimate(kind, guess * correction) for kind, guess in self._steps[self._done :])

    def _estimate(self, kind: Hashable, guess: float) -> float:
        took = self._took.get(kind)
        return sum(took) / len(took) if took else guess

    @property
    def shown(self) -> str:
        """The progress as text for people, such as `12 of 95, about 3 min left`."""
        seconds = self.seconds
        time = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"{self._done} of {len(self._steps)}, about {time} left"
