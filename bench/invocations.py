"""Measures each kind of invocation's CPU time against a free account's 10 ms: `python -m bench.invocations [RUNS]`.

The Worker runs on Cloudflare's own glue, from a snapshot, with the moving clock and the meter. Its state is in memory
(see `memory_folder`). One client sends each kind of request many times, with an API key. A fresh isolate also gets each
kind once, as its first request, for which it looks up the key. The meter counts the time in which Python runs. The
program also measures the processor time of the whole workerd process. Workerd's processor time includes the database
and the objects, which run elsewhere on the platform, and the runs of the submitted tasks.
"""

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import httpx
from rich.console import Console
from rich.table import Table

from bench.free_plan import CHUNKS, CPU_MS_MOST, ROUTES, SLICES, percentile_95
from bench.memory_folder import memory_folder
from bench.prose import english, text_of
from bench.tasks import said
from tests.support import metered
from tests.support.client import Client, Json, openai
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import Plan
from tests.support.model_server import ModelServer
from tests.support.processor_time import cpu_seconds

RUNS = 40
STARTS = 5  # the number of fresh isolates that get each kind as their first request
LENGTHS = {"submission, 24,000 characters": 4, "submission, 120,000 characters": CHUNKS}
type Ask = Callable[[Client], httpx.Response]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request: its name, the beginning of its `request` in the meter's lines, and how to send it."""

    name: str
    request: str
    ask: Ask


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one kind of request, in ms.

    `warm` is the CPU time of the repeated requests, and `first` the CPU time of the first requests of fresh isolates.
    `d1_calls` is the number of calls to D1 of each repeated request.
    """

    warm: list[int]
    first: list[int]
    processor_ms: float
    d1_calls: list[int]


def kinds(task_id: str, response_id: str) -> list[Kind]:
    """Return every kind of request that is measured, once the task and the response have ended."""

    def submission(chunks: int) -> Ask:
        text = text_of(english, Random(chunks), chunks)  # noqa: S311 - a text, not a secret
        return lambda client: client.http.post("/api/tasks", json={"input": text})

    def get(path: str) -> Ask:
        return lambda client: client.http.get(path)

    responses = {"model": "default", "input": "A text. Another sentence.", "background": True}
    return [
        *(Kind(name, "POST /api/tasks", submission(chunks)) for name, chunks in LENGTHS.items()),
        Kind("poll", "GET /api/tasks/", get(f"/api/tasks/{task_id}")),
        Kind("stream of an ended task", "GET /api/tasks/", get(f"/api/tasks/{task_id}/events")),
        Kind("status", "GET /api/async-status", get("/api/async-status")),
        Kind("POST /v1/responses", "POST /v1/", lambda client: client.http.post("/v1/responses", json=responses)),
        Kind("GET /v1/responses", "GET /v1/", get(f"/v1/responses/{response_id}")),
    ]


def line_of(server: DevServer, client: Client, kind: Kind) -> Json:
    """Send the request once, and return the meter's line of the invocation."""
    start = len(server.lines)
    answer = kind.ask(client)
    assert answer.is_success, (kind.name, answer.text)

    def found() -> list[Json]:
        lines = metered.lines(server, start)
        return [line for line in lines if line.get("request", "").startswith(kind.request)]

    return eventually(found)[0]


def measure_route(route: str, runs: int, starts: int = STARTS) -> dict[str, Sample]:
    """Measure every kind on one route, and the slices of the tasks that were submitted.

    Each kind is the first request of `starts` fresh isolates.
    """
    with ExitStack() as stack:
        state = Path(stack.enter_context(memory_folder()))
        model = stack.enter_context(ModelServer(api_key="test-key", plan=Plan(decide=said)))
        flags = (*ROUTES[route], "--limits", "free", *openai(model.base_url, REQUIRE_KEYS="true"))
        with DevServer(state, *flags, "--cron-every", "60") as server, Client(server.url) as client:
            key = {"authorization": f"Bearer {insert_key(state)}"}
            client.http.headers.update(key)
            task_id = client.submit(text_of(english, Random(CHUNKS), CHUNKS))["id"]  # noqa: S311 - a text
            client.finished(task_id)
            answer = client.http.post(
                "/v1/responses", json={"model": "default", "input": "A text.", "background": True}
            )
            assert answer.is_success, answer.text
            client.finished(client.http.get("/api/tasks").json()["tasks"][0]["id"])
            asked = kinds(task_id, answer.json()["id"])
            warm = {kind.name: repeated(server, client, kind, runs) for kind in asked}
            slices = [line["cpu_ms"] for line in metered.lines(server) if line["handler"] == SLICES[route]]
        first: dict[str, list[int]] = {kind.name: [] for kind in asked}
        for _ in range(starts):
            sweep(state, flags)
            for kind in asked:
                with DevServer(state, *flags, "--cron-every", "600") as server, Client(server.url) as client:
                    client.http.headers.update(key)
                    first[kind.name].append(line_of(server, client, kind)["cpu_ms"])
    samples = {name: replace(sample, first=first[name]) for name, sample in warm.items()}
    return samples | {"slice, of 4 or 20 chunks": Sample(slices, [], 0.0, [])}


def sweep(state: Path, flags: Sequence[str]) -> None:
    """Let cron run once. If cron has not run for three minutes, a request sweeps after its answer, which costs CPU."""
    with DevServer(state, *flags, "--cron-every", "1") as server:
        eventually(lambda: any(line["handler"] == "scheduled" for line in metered.lines(server)))


def repeated(server: DevServer, client: Client, kind: Kind, runs: int) -> Sample:
    """Send the request repeatedly. `processor_ms` of the result is workerd's mean processor time of a request."""
    for _ in range(5):
        line_of(server, client, kind)  # warm up the interpreter
    started = cpu_seconds(server.process.pid)
    lines = [line_of(server, client, kind) for _ in range(runs)]
    processor_ms = (cpu_seconds(server.process.pid) - started) / runs * 1000
    return Sample([line["cpu_ms"] for line in lines], [], processor_ms, [line["d1_calls"] for line in lines])


def main(arguments: list[str]) -> int:
    """Measure both routes, and print a table for each."""
    runs = int(arguments[0]) if arguments else RUNS
    os.environ["ONCEOVER_LOCAL_CLOCK"] = "moving"  # a clock that stands still within a turn cannot measure CPU time
    for route in ROUTES:
        table = Table(route, "median, ms", "95 %", "first of an isolate: median", "most", "all of workerd: mean")
        for name, sample in measure_route(route, runs).items():
            first = (f"{statistics.median(sample.first):g}", f"{max(sample.first)}") if sample.first else ("", "")
            row = f"{statistics.median(sample.warm):g}", f"{percentile_95(sample.warm):g}", *first
            table.add_row(name, *row, f"{sample.processor_ms:.1f}" if sample.processor_ms else "")
        Console(width=140).print(table)
    print(f"A free account has {CPU_MS_MOST} ms for an invocation.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
