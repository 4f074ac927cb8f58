"""The scenes that are searched: which task, who acts on it, and within which bounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from simulator.campaign.states.cast import CHUNK, Act, batch, client, submission, sweep, worker
from simulator.campaign.states.search import Bounds, Scene
from simulator.campaign.subject.small_limits import small_limits
from src.kernel.domain.task import Route

type Work = Literal["plain", "merge", "batch"]
type Reach = Literal["queue", "object"]

CHUNKS = 2
_REDUCES: dict[Work, str] = {"plain": "concat", "merge": "merge"}
HOSTS: dict[Reach, tuple[Route, str]] = {"queue": (Route.QUEUE, ""), "object": (Route.DURABLE_OBJECT, "the object")}
CLIENTS: dict[str, tuple[Act, ...]] = {
    "none": (),
    "cancel": ("cancel",),
    "retry": ("cancel", "retry"),
    "delete": ("delete",),
    "bury": ("bury",),
}


def scene(
    work: Work,
    acts: str = "none",
    *,
    bounds: Bounds,
    sweeps: bool = True,
    concurrency: int = 2,
    reach: Reach = "queue",
    workers: int = 2,
    seconds: float = 600.0,
    **terms: int,
) -> Scene:
    """Return the scene of a task of two chunks, and of a client who does what `acts` names.

    A worker's run may start calls for `seconds`. `terms` are further options of the task.
    """
    route, host = HOSTS[reach]
    others = [("sweep", sweep())] if sweeps else []
    if CLIENTS[acts]:
        others.append(("client", client(*CLIENTS[acts])))
    return Scene(
        name=", ".join([work, reach, acts, *terms]),
        setup=batch(CHUNKS) if work == "batch" else submission(CHUNKS, _REDUCES[work], **terms),
        workers=tuple(worker(f"w{number}", concurrency, route, host, seconds) for number in range(1, workers + 1)),
        others=tuple(others),
        after=(sweep(), *(worker(f"r{number}", concurrency, Route.QUEUE) for number in range(1, 7))),
        text="" if work == "batch" else "".join(chr(ord("a") + place) * CHUNK for place in range(CHUNKS)),
        bounds=bounds,
        evicts=bool(host),
    )


@contextmanager
def limits_of_scenes() -> Iterator[None]:
    """Set the limits under which scenes are searched."""
    with small_limits(short_slices=False, small_parts=False, small_windows=False):
        yield


def small_scenes(most: int = 2) -> Iterator[Scene]:
    """Give the scenes in which ablations are tried, the smallest first."""
    few = Bounds(most=most)
    failing = replace(few, failed=2)
    refusing = replace(few, failed=1, crashes=0, lost=0, slow=0, long=0)
    yield scene("plain", bounds=few, sweeps=False)
    yield scene("plain", bounds=few, sweeps=False, reach="object")
    yield scene("merge", bounds=few, sweeps=False, concurrency=1)
    yield scene("plain", "cancel", bounds=few, sweeps=False, concurrency=1)
    yield scene("plain", "delete", bounds=few, sweeps=False, workers=1)
    yield scene("plain", "retry", bounds=refusing, sweeps=False, workers=1)
    yield scene("plain", bounds=few, workers=1)
    yield scene("plain", "bury", bounds=few, sweeps=False, workers=1)
    yield scene("plain", bounds=failing, sweeps=False, workers=1)
    yield scene("plain", bounds=few, sweeps=False, workers=1, concurrency=1, deadline_ms=20_000)
    yield scene("plain", bounds=few, sweeps=False, workers=1, max_calls=1)
    yield scene("batch", bounds=few, sweeps=False, workers=1)
    yield scene("plain", "retry", bounds=few, sweeps=False, concurrency=1)
    yield scene("plain", "retry", bounds=few, workers=1)
    yield scene("plain", bounds=few, sweeps=False, concurrency=1, seconds=20.0)


def dying() -> Scene:
    """Return a scene whose workers die again and again."""
    bounds = Bounds(crashes=3, lost=0, late=0, slow=0, short=0, long=3, most=6)
    return scene("plain", bounds=bounds, sweeps=False, workers=3)
