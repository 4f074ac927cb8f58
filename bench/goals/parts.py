"""The parts of the table, each of which is measured by a benchmark that also runs alone."""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import cold_starts, imports, invocations, tasks
from bench.free_plan import CPU_MS_MOST, ROUTES, percentile_95
from bench.goals.rows import Row, of_figure, of_work
from bench.invocations import LENGTHS, Sample
from bench.references import measuring
from bench.references.outcome import spread
from bench.references.tables import cell
from simulator.campaign.load.arrivals import ArrivalRate, carried
from simulator.campaign.load.overload import ROUTES as SIMULATED

REQUESTS = 20  # the number of requests of a run of the part `invocations`
STARTS = 5  # the number of fresh isolates of the same part
SERVICE_SECONDS = 0.01  # of a D1 call, in the part `capacity`
ARRIVAL_SECONDS = 30.0
FIRST_RATE = 0.1  # tasks a second; the database is then idle
TASKS_A_SECOND_LEAST = 10
SHORT, LONG = LENGTHS
# The mean CPU time of a kind of request, in ms. The meter's clock has ticks of 1 ms, which means even out.
CPU_GOALS = {SHORT: 5.0, "poll": 2.0}
SLOW_GOALS = {LONG: 9.0}  # The CPU time within which 19 of 20 requests of a kind end, in ms.
FIRST = (
    "poll",
    "stream of an ended task",
    "status",
    "POST /v1/responses",
    "GET /v1/responses",
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: the number of runs, and whether a small form shows only that everything runs."""

    runs: int
    quick: bool


type Part = Callable[[Size], list[Row]]


def _works(*keys: str) -> Part:
    """Measure works of `bench.references`, on the systems that their goals name. Ctrl-C raises KeyboardInterrupt."""

    def measured(size: Size) -> list[Row]:
        options = measuring.Options(size.runs, size.quick, works=keys, is_short=True)
        found = {outcome.work.key: outcome for outcome in measuring.measure(options, is_kept=False)}
        return [row for work in options.chosen() for row in of_work(work, found.get(work.key), size.runs)]

    return measured


def _invocations(size: Size) -> list[Row]:
    # A clock that stands still within a turn cannot measure CPU time.
    os.environ["ONCEOVER_LOCAL_CLOCK"] = "moving"
    requests, starts = (2, 1) if size.quick else (REQUESTS, STARTS)
    rows: list[Row] = []
    for route in ROUTES:
        samples = invocations.measure_route(route, requests * size.runs, starts)
        rows += of_samples(route, samples, requests)
    return rows


def of_samples(route: str, samples: dict[str, Sample], requests: int) -> list[Row]:
    """Judge the samples of one route. A run of a kind is `requests` requests in a row."""
    rows = []
    for name, most in CPU_GOALS.items():
        means = [statistics.mean(run) for run in _runs(samples[name], requests)]
        rows.append(_in_ms(f"{route}: CPU, {name}", most, means))
    for name, most in SLOW_GOALS.items():
        slow = [percentile_95(run) for run in _runs(samples[name], requests)]
        rows.append(_in_ms(f"{route}: CPU, {name}, 95 %", most, slow))
    rows += [
        _in_ms(f"{route}: CPU of an isolate's first request, {name}, with a key", CPU_MS_MOST, samples[name].first)
        for name in FIRST
    ]
    for name in CPU_GOALS:
        calls = statistics.median(samples[name].d1_calls)  # once a minute an isolate looks the key up
        rows.append(Row(f"{route}: calls to D1, {name}, with a remembered key", "1", f"{calls:g}", calls == 1))
    return rows


def _runs(sample: Sample, requests: int) -> list[list[int]]:
    return [sample.warm[at : at + requests] for at in range(0, len(sample.warm), requests)]


def _in_ms(what: str, most: float, values: Sequence[float]) -> Row:
    found = spread(list(values))
    met = sum(value <= most for value in values)
    return Row(what, f"≤ {most:g} ms", cell(found), found.median <= most, f"{met} of {len(values)}")


def _cold_starts(size: Size) -> list[Row]:
    return [of_figure(figure) for figure in cold_starts.measure(size.runs)]


def _imports(size: Size) -> list[Row]:
    return [of_figure(figure) for figure in imports.measure(1 if size.quick else imports.STARTS)]


def _counters(size: Size) -> list[Row]:
    figures = tasks.measure(1, {}) if size.quick else tasks.measure()
    return [of_figure(figure) for figure in figures]


def _capacity(size: Size) -> list[Row]:
    chunks, seconds, steps = (4, 5.0, 1) if size.quick else (20, ARRIVAL_SECONDS, 3)
    rows = []
    for route in SIMULATED:
        stream = ArrivalRate(FIRST_RATE, SERVICE_SECONDS, chunks, route, seconds)
        _, best = carried(stream, 0, steps=steps)
        rate = best.stream.rate
        what = f"{route}: tasks a second that a database with 10 ms a call carries, by simulation"
        rows.append(Row(what, f"≥ {TASKS_A_SECOND_LEAST}", f"{rate:.1f}", rate >= TASKS_A_SECOND_LEAST))
    return rows


PARTS: dict[str, Part] = {
    "work": _works("submit", "instant", "24", "240", "60"),
    "free": _works("free"),
    "cpu": _works("cpu"),
    "far": _works("far-24", "far-240", "far-free"),
    "uneven": _works("uneven-24", "uneven-334"),
    "invocations": _invocations,
    "cold-starts": _cold_starts,
    "imports": _imports,
    "counters": _counters,
    "capacity": _capacity,
}
