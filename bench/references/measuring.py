"""Runs the works on the systems: all systems are started, and one system at a time gets a work."""

import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from bench.references.outcome import Outcome
from bench.references.progress import Remaining
from bench.references.systems import Model, client_of, measured, server_of
from bench.references.works import ALL, CHARS, FURTHER, WORKS, Work, quick
from tests.support.client import Client
from tests.support.dev_server import DevServer

START_SECONDS = 10.0  # A guess how many seconds the start takes, for the estimate of the time left.
# Each system runs the works in `WARM_UPS` first, so that the interpreter and the lanes of long works are warm at the
# measurement.
WARM_UPS = (
    Work("warm", "warm-up", "elapsed", 6, 4, 0, ALL, ()),
    Work("warm-long", "long warm-up", "elapsed", 1, 120, 0, ALL, ()),
)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a measurement; no names of works select WORKS, and no names of systems all systems of a work."""

    runs: int = 3
    quick: bool = False
    works: Sequence[str] = ()
    systems: Sequence[str] = ()
    chars: int = CHARS
    is_short: bool = False  # measure a work only on the systems that its goals name

    def chosen(self) -> list[Work]:
        """Return the requested works, in the requested size, each with those of its systems that are requested."""
        fitted = [self._fitted(work) for work in (*WORKS, *FURTHER) if work.key in self.works or self._is_default(work)]
        return [work for work in fitted if work.systems]

    def _is_default(self, work: Work) -> bool:
        return not self.works and work in WORKS

    def _fitted(self, work: Work) -> Work:
        judged = {name for goal in work.goals for name in (goal.system, goal.of)}
        names = tuple(
            name
            for name in work.systems
            if (not self.systems or name in self.systems) and (not self.is_short or name in judged)
        )
        return replace(quick(work) if self.quick else work, systems=names)


@dataclass(frozen=True, slots=True)
class _Step:
    run: int
    work: Work
    system: str

    @property
    def kind(self) -> tuple[str, str]:
        return self.work.key, self.system


def measure(options: Options, *, is_kept: bool = True) -> list[Outcome]:
    """Measure the works, and print the progress and an estimate of the time left.

    Ctrl-C ends the measurement, and without `is_kept` raises KeyboardInterrupt. For each work, a run counts only if all
    systems were measured in that run and none failed.
    """
    chosen = options.chosen()
    names = list(dict.fromkeys(name for work in chosen for name in work.systems))
    steps = list(_steps(chosen, options.runs))
    starts = [("start", START_SECONDS)] * len(names)
    left = Remaining([*starts, *((step.kind, step.work.expected_seconds(step.system)) for step in steps)])
    outcomes = {work.key: Outcome(work) for work in chosen}
    with ended_by_sigterm(), tempfile.TemporaryDirectory() as state, ExitStack() as stack:
        model = stack.enter_context(Model())
        up: dict[str, tuple[DevServer, Client]] = {}
        for number, name in enumerate(names):
            with _timed(left, f"{name} is up and warm"):
                server = stack.enter_context(server_of(name, Path(state) / str(number), model.url))
                up[name] = server, stack.enter_context(client_of(server.url))
                _warm_up(*up[name], model, options)
        for step in steps:
            work, name = step.work, step.system
            try:
                with _timed(left, f"run {step.run + 1} of {options.runs} · {work.name} · {name}"):
                    sample = measured(*up[name], model, work, options.chars, step.run)
            except KeyboardInterrupt:
                if not is_kept:
                    raise
                print("Stopped: what was measured on all systems counts", flush=True)
                break
            except (AssertionError, httpx.HTTPError) as error:
                last_words = "\n".join(up[name][0].lines[-5:])
                print(f"FAILED, and left out: {work.name} on {name}: {error!r}\n{last_words}", flush=True)
                model.wait_until_quiet()
            else:
                outcomes[work.key].add(name, step.run, sample)
    for outcome in outcomes.values():
        outcome.keep_whole()
    return [outcome for outcome in outcomes.values() if outcome.samples]


def _steps(chosen: Sequence[Work], runs: int) -> Iterator[_Step]:
    """Yield the steps of the measurement: each work runs on all systems before the next work begins.

    Each work begins with another system than the previous work.
    """
    for run in range(runs):
        for work in chosen:
            for repeat in range(work.repeats):
                first = (run + repeat) % len(work.systems)
                for name in (*work.systems[first:], *work.systems[:first]):
                    yield _Step(run, work, name)


def _warm_up(server: DevServer, client: Client, model: Model, options: Options) -> None:
    for work in WARM_UPS:
        small = quick(work) if options.quick else work
        measured(server, client, model, small, options.chars)


@contextmanager
def _timed(left: Remaining, what: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - started
        left.finished(seconds)
        print(f"  {what}: {seconds:.1f} s ({left.shown})", flush=True)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM act like Ctrl-C within the block.

    Without this, the servers would keep running after a SIGTERM, because they have process groups of their own.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
