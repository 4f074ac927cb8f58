"""Lists the works, the systems that run each work, what is measured of each, and onceover's goals."""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from bench.prose import english

SEED, WORKFLOWS = "seed", "workflows"
QUEUE, OBJECTS = "queue", "objects"
QUEUE_FREE, OBJECTS_FREE, QUEUE_ALONE_FREE = "queue-free", "objects-free", "queue-alone-free"
ALL = (SEED, WORKFLOWS, QUEUE, OBJECTS)
FREE = (QUEUE_FREE, OBJECTS_FREE, QUEUE_ALONE_FREE)
CHARS_MOST = 4_000  # The task with the most chunks must fit into a workflow's parameters, which may have 1 MiB.
CHARS = 40  # The default size of a chunk is small, so that the bench does not measure the transport of texts.

Measure = Literal["submit", "elapsed", "throughput"]
UNITS: dict[Measure, str] = {"submit": "ms", "elapsed": "s", "throughput": "chunks/s"}


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a system's value.

    The bound is `bound` times the value of the system `of`; without `of` it is `bound` itself. The bound is a minimum
    for throughput, and a maximum for every other measure.
    """

    system: str
    bound: float
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A number of tasks with a number of chunks each; the model call of a chunk takes `delay_ms`.

    A run measures the work `repeats` times.
    """

    key: str
    name: str
    measure: Measure
    tasks: int
    chunks: int
    delay_ms: int
    systems: tuple[str, ...]
    goals: tuple[Goal, ...]
    repeats: int = 1

    @property
    def unit(self) -> str:
        """The unit of the work's measured values."""
        return UNITS[self.measure]

    def expected_seconds(self, system: str) -> float:
        """Guess how many seconds the work takes on a system, for the estimate of the time left."""
        in_a_row = self.chunks * -(-self.tasks // 10) if system == SEED else -(-self.chunks // 6)
        return in_a_row * self.delay_ms / 1000 + self.tasks * (0.02 + self.chunks * 0.003) + 0.3


def _each(systems: tuple[str, ...], bound: float, of: str | None = None) -> tuple[Goal, ...]:
    return tuple(Goal(system, bound, of) for system in systems)


_OURS = (QUEUE, OBJECTS)
WORKS = (
    Work(
        *("submit", "submit of 4 chunks while earlier ones run", "submit", 40, 4, 200, ALL),
        goals=(Goal(QUEUE, 2, SEED), Goal(OBJECTS, 1, WORKFLOWS)),
    ),
    Work(
        *("instant", "40 tasks × 20 chunks, instant model", "throughput", 40, 20, 0, ALL),
        goals=_each(_OURS, 1, WORKFLOWS),
    ),
    Work(*("24", "24 chunks × 200 ms", "elapsed", 1, 24, 200, ALL), goals=_each(_OURS, 0.86), repeats=3),
    Work(*("240", "240 chunks × 200 ms", "elapsed", 1, 240, 200, ALL), goals=_each(_OURS, 2.0)),
    Work(
        *("60", "60 tasks × 10 chunks × 50 ms", "elapsed", 60, 10, 50, ALL),
        goals=(*_each(_OURS, 1.9), *_each(_OURS, 1, WORKFLOWS)),
    ),
    Work(
        *("free", "200 chunks × 200 ms, PLAN=free", "elapsed", 1, 200, 200, FREE),
        goals=(*_each((QUEUE_FREE, OBJECTS_FREE), 2.5), Goal(QUEUE_ALONE_FREE, 7.5)),
    ),
)


def quick(work: Work) -> Work:
    """Return the smallest form of a work, which shows that everything runs, but whose figures mean nothing."""
    return replace(work, tasks=min(work.tasks, 2), chunks=min(work.chunks, 7), delay_ms=work.delay_ms // 20, repeats=1)


def texts(work: Work, chars: int) -> list[str]:
    """Return the inputs of a work's tasks, in which each chunk is a paragraph and all chunks differ."""
    rng = Random(work.key)  # noqa: S311
    return ["".join(_chunk(rng, f"{task}-{at} ", chars) for at in range(work.chunks)) for task in range(work.tasks)]


def _chunk(rng: Random, mark: str, chars: int) -> str:
    prose = english(rng, chars - 2 - len(mark)).replace("\n", " ").strip()
    return (mark + prose).ljust(chars - 2, ".") + "\n\n"
