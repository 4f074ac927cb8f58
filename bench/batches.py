"""Measures batches on the local runtime: lines a second beside ordinary chunks, and what the account uses for a batch.

    python -m bench.batches [--lines N] [--runs N] [--route queue|objects]
    python -m bench.batches --counts [--lines N] [--plan free|paid] [--route queue|objects]

The model answers at once. A line and a chunk have the same text. In each run a batch and a task of as many chunks (or
several tasks, one after the other, if one may not have as many) do the same work, and each run begins with the other
kind. The batch ends when its files are complete.

With `--counts` the meter counts the rows, calls and operations of one batch, from its upload to its erasure. Counters
do not depend on the machine's load, but the rows written depend on how many model calls end at the same time.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.free_plan import use
from bench.references.systems import Model, client_of
from bench.references.works import Work, texts
from src.kernel.domain import limits
from tests.support import metered
from tests.support.client import Client, Json, openai
from tests.support.dev_server import DevServer, eventually
from tests.support.processor_time import cpu_seconds

ENDPOINT = "/v1/chat/completions"
ROUTES = {"queue": (), "objects": ("--env", "free")}
CHARS = 180  # of a line's text, and of a chunk: the text of CHUNKS_MOST chunks stays below MAX_INPUT_BYTES
ANSWER_CHARS = 300
ENDED = {"completed", "failed", "expired", "cancelled"}
WARM_LINES = 300
WAITS_MOST = 3_600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: the seconds from the first request to the end, and the processor time of the server."""

    lines: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Lines or chunks a second."""
        return self.lines / self.seconds

    @property
    def cpu_ms(self) -> float:
        """The milliseconds of processor time of a line or chunk."""
        return 1_000 * self.cpu / self.lines


@contextmanager
def running(route: str, *flags: str, plan: str = "paid") -> Iterator[tuple[DevServer, Client, Model]]:
    """Start a model and a server on a route, in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="batch-bench-") as state, Model() as model:
        model.plan(delay_ms=0, output_chars=ANSWER_CHARS)
        variables = openai(f"{model.url}/v1", PLAN=plan, AI_MODEL="test-model")
        with DevServer(Path(state), *ROUTES[route], *flags, *variables) as server, client_of(server.url) as client:
            yield server, client, model


def inputs(lines: int, mark: str) -> list[str]:
    """Return texts of CHARS characters, as ordinary chunks have them: a work's tasks of up to CHUNKS_MOST chunks."""
    sizes = [min(limits.CHUNKS_MOST, lines - at) for at in range(0, lines, limits.CHUNKS_MOST)]
    return [
        texts(Work(f"{mark}-{at}", "", "throughput", 1, size, 0, (), ()), CHARS)[0] for at, size in enumerate(sizes)
    ]


def requests_of(parts: Sequence[str]) -> str:
    """Return the input file of a batch with a line for each of the chunks of texts."""
    chunks = [text[at : at + CHARS] for text in parts for at in range(0, len(text), CHARS)]
    return "".join(_line(number, chunk) for number, chunk in enumerate(chunks))


def _line(number: int, text: str) -> str:
    body = {"model": "test-model", "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": ENDPOINT, "body": body}) + "\n"


def start(client: Client, content: str) -> dict[str, Any]:
    """Upload a file and start a batch over it."""
    form = {"file": ("lines.jsonl", content.encode())}
    sent = client.http.post("/v1/files", files=form, data={"purpose": "batch"}, timeout=300).raise_for_status()
    body = {"input_file_id": sent.json()["id"], "endpoint": ENDPOINT, "completion_window": "24h"}
    made: dict[str, Any] = client.http.post("/v1/batches", json=body).raise_for_status().json()
    return made


def ended(client: Client, made: dict[str, Any]) -> dict[str, Any]:
    """Wait until the files of a batch are complete, and return the batch. Raises AssertionError if lines failed."""
    wait(client, made["onceover"]["task"].rpartition("/")[2])
    found: list[dict[str, Any]] = []

    def has_ended() -> bool:
        found[:] = [client.http.get(f"/v1/batches/{made['id']}").raise_for_status().json()]
        return found[0]["status"] in ENDED

    eventually(has_ended, seconds=300)
    counts = found[0]["request_counts"]
    assert (found[0]["status"], counts["completed"]) == ("completed", counts["total"]), found[0]
    return found[0]


def wait(client: Client, task_id: str) -> Json:
    """Wait until a task has completed, and return it."""
    deadline = time.monotonic() + WAITS_MOST
    while not (task := client.task(task_id, wait=25))["terminal"]:
        assert time.monotonic() < deadline, f"still not finished after {WAITS_MOST} s"
    assert task["status"] == "completed", task
    return task


def of_batch(server: DevServer, client: Client, lines: int, mark: str) -> Sample:
    """Measure a batch, from its upload to its complete files."""
    content = requests_of(inputs(lines, mark))
    begin, spent = time.perf_counter(), cpu_seconds(server.process.pid)
    ended(client, start(client, content))
    return Sample(lines, time.perf_counter() - begin, cpu_seconds(server.process.pid) - spent)


def of_chunks(server: DevServer, client: Client, lines: int, mark: str) -> Sample:
    """Measure the same texts as chunks of ordinary tasks, one task after the other."""
    parts = inputs(lines, mark)
    begin, spent = time.perf_counter(), cpu_seconds(server.process.pid)
    for text in parts:
        wait(client, client.submit(text, reduce="none", chunk={"maxChars": CHARS})["id"])
    return Sample(lines, time.perf_counter() - begin, cpu_seconds(server.process.pid) - spent)


KINDS = {"batch": of_batch, "chunks": of_chunks}


def compare(route: str, lines: int, runs: int) -> dict[str, list[Sample]]:
    """Measure batches and ordinary chunks in turns, after a warm-up that is not measured."""
    found: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
    with running(route, "--limits", "off") as (server, client, model):
        for kind, measure in KINDS.items():
            measure(server, client, min(lines, WARM_LINES), f"warm-{kind}")
        for run in range(runs):
            for kind in KINDS if run % 2 == 0 else reversed(KINDS):
                model.plan(delay_ms=0, output_chars=ANSWER_CHARS)
                sample = KINDS[kind](server, client, lines, f"{run}-{kind}")
                calls = model.counts()
                assert (calls["calls"], calls["distinct"]) == (lines, lines), calls
                found[kind].append(sample)
                print(
                    f"run {run + 1}: {kind}, {sample.rate:.0f} a second, {sample.cpu_ms:.1f} ms of CPU each", flush=True
                )
    return found


def counts(route: str, plan: str, lines: int) -> dict[str, float]:
    """Run a batch under the meter, erase it and its input, and return the use of the account by allowance.

    `subrequests` and `heap_mb` are the most of any invocation.
    """
    with running(route, "--limits", plan, "--cron-every", "5", plan=plan) as (server, client, _):
        ended(client, start(client, requests_of(inputs(50, "warm"))))
        eventually(lambda: _crons(server) > 0)
        first = len(server.lines)
        made = start(client, requests_of(inputs(lines, "counted")))
        batch = ended(client, made)
        runs = _crons(server)
        eventually(lambda: _crons(server) >= runs + 2)  # adds the task to the sums, so that it can be erased
        task_id = made["onceover"]["task"].rpartition("/")[2]
        for path in (f"/api/tasks/{task_id}", f"/v1/files/{batch['input_file_id']}"):
            client.http.delete(path).raise_for_status()
        runs = _crons(server)
        eventually(lambda: _crons(server) >= runs + 2)  # erases the output file
        spent = metered.lines(server, first)
    assert not [line for line in spent if "passed" in line]
    heaps = [line["heap_mb"] for line in spent]
    print("MB of WebAssembly's memory, from the upload on:", *heaps[:: max(1, len(heaps) // 12)], heaps[-1], flush=True)
    rest = [line for line in spent if line["handler"] != "scheduled" or line["bucket_writes"]]
    found = use(rest)
    found |= {name: sum(line[name] for line in rest) for name in ("bucket_writes", "bucket_reads")}
    # A poll of the client reads rows too, and how often it polls depends on the time.
    polls = [line for line in rest if line.get("request", "").startswith("GET /")]
    found["requests"] -= len(polls)
    found["rowsRead"] -= sum(line["rows_read"] for line in polls)
    return found | {name: max(line[name] for line in rest) for name in ("subrequests", "heap_mb")}


def _crons(server: DevServer) -> int:
    return sum(line["handler"] == "scheduled" for line in metered.lines(server))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.batches", description=__doc__)
    parser.add_argument("--lines", type=int, default=limits.CHUNKS_MOST, help="default: the most chunks of a task")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--route", choices=ROUTES, default="queue")
    parser.add_argument("--plan", choices=("free", "paid"), default="paid", help="of --counts")
    parser.add_argument("--counts", action="store_true", help="count one batch instead")
    options = parser.parse_args(arguments)
    console = Console(width=120)
    if options.counts:
        table = Table("what", "a batch", "a line")
        for name, amount in counts(options.route, options.plan, options.lines).items():
            table.add_row(name, f"{amount:,.4g}", f"{amount / options.lines:.4g}")
        console.print(table)
        return 0
    found = compare(options.route, options.lines, options.runs)
    table = Table(
        f"{options.lines} on {options.route}, {options.runs} runs", "a second, median", "CPU, ms each, median"
    )
    rates = {kind: statistics.median(one.rate for one in samples) for kind, samples in found.items()}
    for kind, samples in found.items():
        table.add_row(kind, f"{rates[kind]:.0f}", f"{statistics.median(one.cpu_ms for one in samples):.2f}")
    console.print(table)
    pairs = zip(found["batch"], found["chunks"], strict=True)
    ratios = [batch.rate / chunks.rate for batch, chunks in pairs]
    print(f"batch ÷ chunks: {statistics.median(ratios):.2f} (median; {min(ratios):.2f} to {max(ratios):.2f})")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
