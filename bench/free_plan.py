"""Measures how many tasks a day the free plan allows, and the CPU time of an invocation, on the local runtime.

    python -m bench.free_plan [RUNS]

Each run is one English task of 20 chunks of 6,000 characters, with outputs of 1,000 characters. In each run the task is
submitted, polled until it is done, and erased once cron has added it to the sums. The counters come from the meter of
`make dev ARGS="--limits free"`. docs/limits.md explains how the table is computed from the counters.
`bench.costs` computes which other allowances run out, on both plans.
"""

import math
import statistics
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.memory_folder import memory_folder
from bench.prose import english, text_of
from bench.sweeps import cron_rows
from bench.tasks import said
from src.kernel.domain.limits import FREE_PLAN_DAY
from tests.support import metered
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Plan
from tests.support.model_server import ModelServer

RUNS = 200
CHUNKS, LONG = 20, 200
WAVES = math.ceil(CHUNKS / 6)  # A task makes six model calls at a time.
LATENCY_SECONDS = 0.2  # With this latency, model calls that start together also count as ending together.
CALL_SECONDS = 5.0  # The length of a model call in the printed table; it affects only objects' GB-seconds.
POLLS = 3  # The number of polls of each task in the printed table.
CRON_RUNS = 1_440  # The number of cron runs a day, one a minute.
TASKS_LEAST = 1_000
CPU_MS_MOST = 10  # the platform's limit of an invocation's CPU time on the free plan
FINISHED_TASKS = 1_000
ROUTES = {"queue": (), "durable-object": ("--env", "free")}
SLICES = {"queue": "queue", "durable-object": "AIProcessor.alarm"}


@dataclass(frozen=True, slots=True)
class Day:
    """The figures of one route: a task's and a cron run's use of each daily allowance."""

    route: str
    task: dict[str, float]
    cron: dict[str, float]

    def tasks(self, allowance: str) -> float:
        """Return how many tasks a day the allowance allows, after the day's cron runs have used their part."""
        left = FREE_PLAN_DAY[allowance] - CRON_RUNS * self.cron[allowance]
        return left / self.task[allowance] if self.task[allowance] else math.inf

    @property
    def first(self) -> str:
        """Return the name of the allowance that runs out first."""
        return min(FREE_PLAN_DAY, key=self.tasks)


def measure(runs: int = RUNS) -> list[Figure]:
    """Measure both routes, and what 1,000 finished tasks leave behind."""
    figures: list[Figure] = []
    for route in ROUTES:
        day, lines = measure_route(route, runs)
        figures.append(
            Figure(
                f"{route}: 20-chunk tasks a day on the free plan, less", -day.tasks(day.first), "tasks", -TASKS_LEAST
            )
        )
        for what, times in cpu(route, lines).items():
            figures.append(Figure(f"{route}: CPU of {what}, median", statistics.median(times), "ms"))
            figures.append(Figure(f"{route}: CPU of {what}, 95 %", percentile_95(times), "ms"))
    figures.append(Figure(f"{LONG} chunks: time on objects ÷ time on the queue", compared(), "", 1.4))
    figures.append(Figure(f"rows left in objects after {FINISHED_TASKS} tasks", left_behind(FINISHED_TASKS), "rows", 0))
    return figures


def compared() -> float:
    """Run a long task three times on each route, and compare the shortest times, as the server reports them."""
    seconds = {}
    for route, flags in ROUTES.items():
        with (
            tempfile.TemporaryDirectory() as state,
            ModelServer(api_key="test-key", latency_seconds=LATENCY_SECONDS) as model,
            DevServer(Path(state), *flags, "--limits", "free", *openai(model.base_url), "--cron-every", "5") as server,
            Client(server.url) as client,
        ):
            seconds[route] = min(metered.seconds(_long_task(client)) for _ in range(3))
    return seconds["durable-object"] / seconds["queue"]


def _long_task(client: Client) -> Json:
    task = client.finished(client.submit(paragraphs(LONG), chunk={"maxChars": 40})["id"])
    assert (task["status"], task["progress"]["total"]) == ("completed", LONG)
    return task


def measure_route(route: str, runs: int) -> tuple[Day, list[Json]]:
    """Run tasks one after the other. Return the figures of the route, and the meter's lines."""
    with (
        memory_folder() as state,
        ModelServer(api_key="test-key", latency_seconds=LATENCY_SECONDS, plan=Plan(decide=said)) as model,
        DevServer(
            Path(state), *ROUTES[route], "--limits", "free", *openai(model.base_url), "--cron-every", "2"
        ) as server,
        Client(server.url) as client,
    ):
        erase(client, server, [run(client) for _ in range(10)])  # warm up the interpreter
        start = len(server.lines)
        before = _slices(server, route, start)
        done = [run(client) for _ in range(runs)]
        eventually(lambda: _slices(server, route, start) - before >= runs)
        erase(client, server, done)
        lines = metered.lines(server, start)
    assert not [line for line in lines if "passed" in line]
    cron = [line for line in lines if line["handler"] == "scheduled"]
    rest = [line for line in lines if line["handler"] != "scheduled"]
    task = {name: value / runs for name, value in use(rest).items()}
    # On a busy machine, the model calls of a wave end at different times, which costs more writes. The cheapest slice
    # has the cost of calls that end together.
    slices = [line for line in rest if line["handler"] == SLICES[route]]
    for name, counter in (("rowsRead", "rows_read"), ("rowsWritten", "rows_written")):
        task[name] += min(line[counter] for line in slices) - statistics.mean(line[counter] for line in slices)
    # The measured calls are shorter than those of the table, and the measured client polls only once. The next lines
    # add what the table's longer calls and further polls use.
    if route == "durable-object":
        task["objectGbSeconds"] += 0.128 * WAVES * (CALL_SECONDS - LATENCY_SECONDS)
    # The client of this bench polls once, and its request for erasure does not belong to the table.
    task["requests"] += POLLS - 1 - 1
    polls = [line["rows_read"] for line in rest if line.get("request", "").startswith("GET /api/tasks/")]
    task["rowsRead"] += (POLLS - 1) * max(polls)
    a_cron_run = {name: value / len(cron) for name, value in use(cron).items()} | {"rowsWritten": cron_rows()}
    return Day(route, task, a_cron_run), lines


def run(client: Client) -> str:
    """Run a task. Return its id."""
    task = client.finished(client.submit(text_of(english, Random(CHUNKS), CHUNKS))["id"])  # noqa: S311
    assert (task["status"], task["progress"]["total"]) == ("completed", CHUNKS)
    return str(task["id"])


def erase(client: Client, server: DevServer, ids: list[str]) -> None:
    """Erase tasks two cron runs after the last task has ended.

    The erasure costs as much as the erasure at the end of a task's retention.
    """
    runs = _crons(server)
    eventually(lambda: _crons(server) >= runs + 2)
    for task_id in ids:
        assert client.http.delete(f"/api/tasks/{task_id}").status_code == 204


def _crons(server: DevServer) -> int:
    return sum(line["handler"] == "scheduled" for line in metered.lines(server))


def _slices(server: DevServer, route: str, start: int) -> int:
    return sum(line["handler"] == SLICES[route] for line in metered.lines(server, start))


def use(lines: Iterable[Json]) -> dict[str, float]:
    """Add up the meter's lines in the same way as `local/runtime/usage.mjs`."""
    spent: dict[str, float] = dict.fromkeys(FREE_PLAN_DAY, 0)
    for line in lines:
        if "object_ms" in line:
            spent["objectRequests"] += 1
            spent["objectGbSeconds"] += line["object_ms"] / 1000 * 0.128
        else:
            spent["requests"] += 1
        spent["rowsRead"] += line["rows_read"]
        spent["rowsWritten"] += line["rows_written"]
        spent["queueOperations"] += line["queue_operations"]
        spent["objectRowsWritten"] += line["object_rows_written"]
    return spent


def cpu(route: str, lines: list[Json]) -> dict[str, list[int]]:
    """Return the CPU milliseconds of each submission, poll and slice."""

    def of(handler: str, request: str = "") -> list[int]:
        return [
            line["cpu_ms"]
            for line in lines
            if line["handler"] == handler and line.get("request", "").startswith(request)
        ]

    return {
        "a submission": of("fetch", "POST /api/tasks"),
        "a poll": of("fetch", "GET /api/tasks/"),
        "a slice": of(SLICES[route]),
    }


def percentile_95(values: list[int]) -> float:
    """Return the value below which 95 % of all values lie."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def left_behind(count: int) -> int:
    """Finish a given number of small tasks on the object route, and return what the objects still store.

    The result is the number of rows that objects store, in which each alarm counts as a row.
    """
    with (
        tempfile.TemporaryDirectory() as state,
        DevServer(Path(state), "--env", "free", "--limits", "free", "--cron-every", "5") as server,
        Client(server.url) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda number: client.finished(client.submit(f"Text {number}.")["id"]), range(count)))
        eventually(lambda: _slices(server, "durable-object", 0) >= count)
        assert len(metered.object_files(Path(state))) >= count
        return sum(metered.object_rows(Path(state)).values())


def main(arguments: list[str]) -> int:
    """Measure and print the tables. Return the exit status, 1 if a route allows fewer tasks than required."""
    runs = int(arguments[0]) if arguments else RUNS
    quotas = Table(
        "a 20-chunk task takes", *ROUTES, "a day's allowance", *(f"{route}: tasks a day" for route in ROUTES)
    )
    times = Table("CPU, ms", "median", "95 %", "the platform's limit")
    days = {}
    for route in ROUTES:
        days[route], lines = measure_route(route, runs)
        for what, values in cpu(route, lines).items():
            times.add_row(
                f"{route}: {what}", f"{statistics.median(values):g}", f"{percentile_95(values):g}", f"{CPU_MS_MOST}"
            )
    for name, limit in FREE_PLAN_DAY.items():
        carried = [days[route].tasks(name) for route in ROUTES]
        marks = [" ← first" if days[route].first == name else "" for route in ROUTES]
        quotas.add_row(
            name,
            *(f"{days[route].task[name]:.3g}" for route in ROUTES),
            f"{limit:,}",
            *(
                "no end" if math.isinf(value) else f"{value:,.0f}{mark}"
                for value, mark in zip(carried, marks, strict=True)
            ),
        )
    console = Console(width=140)
    console.print(quotas)
    console.print(times)
    console.print(f"Rows left in objects after {FINISHED_TASKS} finished tasks: {left_behind(FINISHED_TASKS)}")
    return 0 if all(day.tasks(day.first) >= TASKS_LEAST for day in days.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
