"""Scheduling policies, which choose one of several ready handles.

A policy is called with the list of ready handles, oldest first, and returns the index of the handle that runs next. A
policy is called only if at least two handles are ready. A policy may depend only on its own state and on the list.
"""

from collections.abc import Callable, Iterator
from random import Random

from simulator.engine.scope import SCOPE, Handle

type Policy = Callable[[list[Handle]], int]


def choose_first(ready: list[Handle]) -> int:
    """Choose the oldest handle, as asyncio itself does."""
    return 0


def choose_at_random(rng: Random) -> Policy:
    """Return a policy that chooses each ready handle with the same probability."""
    random = rng.random
    return lambda ready: int(random() * len(ready))


class Priorities:
    """PCT (Burckhardt et al., ASPLOS 2010): the ready invocation with the highest random priority runs.

    At `depth` random steps the priority of the invocation that is about to run drops below all others. Such drops of
    priority find orders in which one invocation must be far ahead of another, which uniform choice hardly ever
    produces.
    """

    def __init__(self, rng: Random, *, depth: int = 3, horizon_steps: int = 2_000) -> None:
        self._rng = rng
        self._steps = 0
        self._lowest = 0.0
        self._drops = {rng.randrange(horizon_steps) for _ in range(depth)}

    def __call__(self, ready: list[Handle]) -> int:
        best, best_priority, best_scope = 0, float("-inf"), None
        for index, handle in enumerate(ready):
            scope = handle.context.get(SCOPE)
            if scope is None:
                priority = 0.5
            else:
                if scope.priority == 0.0:
                    scope.priority = self._rng.random() or 0.25
                priority = scope.priority
            if priority > best_priority:
                best, best_priority, best_scope = index, priority, scope
        self._steps += 1
        if self._steps in self._drops and best_scope is not None:
            self._lowest -= 1.0
            best_scope.priority = self._lowest
        return best


class Scripted:
    """Replays a list of choices, then always takes the oldest handle.

    `taken` records the choices, and `widths` how many handles were ready at each choice.
    """

    def __init__(self, script: list[int]) -> None:
        self._script = script
        self.taken: list[int] = []
        self.widths: list[int] = []
        self._over = False

    def end(self) -> None:
        """From now on take the oldest handle and record nothing, so that `explore` does not vary later choices."""
        self._over = True

    def __call__(self, ready: list[Handle]) -> int:
        if self._over:
            return 0
        at = len(self.taken)
        index = self._script[at] if at < len(self._script) else 0
        self.taken.append(index)
        self.widths.append(len(ready))
        return index


def explore[T](run: Callable[[Scripted], T]) -> Iterator[tuple[list[int], T]]:
    """Run `run` once for every schedule, depth first.

    For each schedule, yields the choices taken and the result of `run`, which must build its world anew each time and
    without latency, so that runs differ only in the choices.
    """
    script: list[int] | None = []
    while script is not None:
        policy = Scripted(script)
        result = run(policy)
        yield policy.taken, result
        script = _next_script(policy.taken, policy.widths)


def _next_script(taken: list[int], widths: list[int]) -> list[int] | None:
    for at in range(len(taken) - 1, -1, -1):
        if taken[at] + 1 < widths[at]:
            return [*taken[:at], taken[at] + 1]
    return None
