"""Lists the works, the systems that run each work, what is measured of each, and onceover's goals."""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from bench.prose import english
from src.kernel.domain import limits
from src.objects.laned_caller import lanes_for

SEED, WORKFLOWS = "seed", "workflows"
QUEUE, OBJECTS = "queue", "objects"
QUEUE_FREE, OBJECTS_FREE, QUEUE_ALONE_FREE = "queue-free", "objects-free", "queue-alone-free"
ALL = (SEED, WORKFLOWS, QUEUE, OBJECTS)
FREE = (QUEUE_FREE, OBJECTS_FREE, QUEUE_ALONE_FREE)
QUEUE_FAR, OBJECTS_FAR = "queue-far", "objects-far"
QUEUE_FAR_FREE, OBJECTS_FAR_FREE = "queue-far-free", "objects-far-free"
FAR = (QUEUE_FAR, OBJECTS_FAR, QUEUE_FAR_FREE, OBJECTS_FAR_FREE)  # with a distant database and queue
D1_SECONDS, SEND_SECONDS = 0.025, 0.05  # what the distance adds to a D1 call, and to a send to the queue
CHARS_MOST = 4_000  # The task with the most chunks must fit into a workflow's parameters, which may have 1 MiB.
LONG_CHARS = 6_000  # The size of a chunk of an ordinary task. A task of 20 such chunks fits into a workflow.
CHARS = 40  # The default size of a chunk is small, so that the bench does not measure the transport of texts.

Measure = Literal["submit", "elapsed", "throughput", "cpu", "share"]
UNITS: dict[Measure, str] = {
    "submit": "ms",
    "elapsed": "s",
    "throughput": "chunks/s",
    "cpu": "ms of CPU a chunk",
    "share": "of the places",
}
MORE_IS_BETTER: frozenset[Measure] = frozenset({"throughput", "share"})


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a system's value.

    The bound is `bound` times the value of the system `of`; without `of` it is `bound` itself. The bound is a minimum
    for the measures of MORE_IS_BETTER, and a maximum for every other measure.
    """

    system: str
    bound: float
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A number of tasks with a number of chunks each; the model call of a chunk takes `delay_ms`.

    A run measures the work `repeats` times. With `spread_ms`, the chunk and the run decide how much longer or shorter
    the chunk's call is, by up to `spread_ms`. `chars` is the size of a chunk if the work has a size of its own.
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
    spread_ms: int = 0
    chars: int | None = None

    @property
    def width(self) -> int:
        """How many calls a task makes at a time if objects are bound, and if AI_CONCURRENCY has its default."""
        return lanes_for(self.chunks) * limits.LANE_CALLS

    @property
    def ideal_seconds(self) -> float:
        """The least time of one task whose calls all take `delay_ms`: its waves of calls, one after the other."""
        return -(-self.chunks // self.width) * self.delay_ms / 1000

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
        goals=(*_each(_OURS, 2, SEED), Goal(OBJECTS, 1, WORKFLOWS)),
    ),
    Work(
        *("instant", "40 tasks × 20 chunks, instant model", "throughput", 40, 20, 0, ALL),
        goals=_each(_OURS, 1.25, WORKFLOWS),
    ),
    Work(*("24", "24 chunks × 200 ms", "elapsed", 1, 24, 200, ALL), goals=_each(_OURS, 0.85), repeats=3),
    Work(*("240", "240 chunks × 200 ms", "elapsed", 1, 240, 200, ALL), goals=_each(_OURS, 1.9)),
    Work(
        *("60", "60 tasks × 10 chunks × 50 ms", "elapsed", 60, 10, 50, ALL),
        goals=_each(_OURS, 1, WORKFLOWS),
    ),
    Work(
        *("free", "200 chunks × 200 ms, PLAN=free", "elapsed", 1, 200, 200, FREE),
        goals=(*_each((QUEUE_FREE, OBJECTS_FREE), 1.9), Goal(QUEUE_ALONE_FREE, 7.5)),
    ),
)


def _far(key: str, name: str, chunks: int, systems: tuple[str, ...], repeats: int = 1) -> Work:
    """Make a work on a distant database, with 1.15 times the least time as its goal.

    The least time of a task is that of its calls, plus three D1 calls (its creation, its claim and its end), plus on
    the queue the send of its message.
    """
    work = Work(key, name, "elapsed", 1, chunks, 200, systems, (), repeats)
    least = {name: work.ideal_seconds + 3 * D1_SECONDS + SEND_SECONDS * name.startswith("queue") for name in systems}
    return replace(work, goals=tuple(Goal(name, round(1.15 * seconds, 3)) for name, seconds in least.items()))


# These works are measured only if they are named: `make bench ARGS=goals` names all of them.
FURTHER = (
    Work(
        *("cpu", "20 tasks × 20 chunks of 6,000 characters, instant model", "cpu", 20, 20, 0, ALL),
        goals=(*_each(_OURS, 1.2), *_each(_OURS, 1, WORKFLOWS)),
        chars=LONG_CHARS,
    ),
    _far("far-24", "24 chunks × 200 ms, far database", 24, (QUEUE_FAR, OBJECTS_FAR), 3),
    _far("far-240", "240 chunks × 200 ms, far database", 240, (QUEUE_FAR, OBJECTS_FAR)),
    _far("far-free", "200 chunks × 200 ms, far database, PLAN=free", 200, (QUEUE_FAR_FREE, OBJECTS_FAR_FREE)),
    Work(
        *("uneven-24", "24 chunks × 0.75 to 2.25 s", "share", 1, 24, 1_500, _OURS),
        goals=_each(_OURS, 0.85),
        spread_ms=750,
    ),
    Work(
        *("uneven-334", "334 chunks × 0.75 to 2.25 s", "share", 1, 334, 1_500, _OURS),
        goals=_each(_OURS, 0.85),
        spread_ms=750,
    ),
)


def quick(work: Work) -> Work:
    """Return the smallest form of a work, which shows that everything runs, but whose figures mean nothing."""
    return replace(
        work,
        tasks=min(work.tasks, 2),
        chunks=min(work.chunks, 7),
        delay_ms=work.delay_ms // 20,
        spread_ms=work.spread_ms // 20,
        repeats=1,
    )


def texts(work: Work, chars: int) -> list[str]:
    """Return the inputs of a work's tasks, in which each chunk is a paragraph and all chunks differ."""
    rng = Random(work.key)  # noqa: S311
    return ["".join(_chunk(rng, f"{task}-{at} ", chars) for at in range(work.chunks)) for task in range(work.tasks)]


def _chunk(rng: Random, mark: str, chars: int) -> str:
    prose = english(rng, chars - 2 - len(mark)).replace("\n", " ").strip()
    return (mark + prose).ljust(chars - 2, ".") + "\n\n"
