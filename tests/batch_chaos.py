"""`python -m tests.batch_chaos --lines 20000 --kills 1` kills the real runtime while it works on a batch.

The program kills the runtime with SIGKILL whenever a further part of the lines has an answer, so that each kill comes
while lines are left. A single kill comes at a third of the lines; several are spread over all lines, each at a random
line of its part. The model is a separate server with a ledger of its calls. All the while a reader pages the growing
output file by `offset`. At the end each line must stand exactly once in the output file, the reader must have seen the
same file, and the bill must agree with the ledger.
"""

import argparse
import contextlib
import json
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from simulator.figures import keep_figures
from simulator.options import positive
from tests.chaos import aligned, model_process, say
from tests.support.client import BATCH_ENDS as ENDED
from tests.support.client import Client, line_of_batch, openai
from tests.support.dev_server import DevServer
from tests.support.model_plan import read_ledger

VARIABLES = {"AI_TIMEOUT_SECONDS": 8, "LEASE_SECONDS": 10, "PLAN": "paid", "MAX_ATTEMPTS": 20}
TEXT = "Text number"  # each line's message begins so
PAGE_LINES = 500
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Plan:
    """The plan of a run. `settle_seconds` is the time that the batch may take up to the next kill, or to its end."""

    lines: int
    kills: int
    seed: int
    latency_seconds: float = 0.05
    concurrency: int = 6
    settle_seconds: float = 1200

    def kill_at(self) -> list[int]:
        if self.kills == 1:
            return [self.lines // 3]
        random = Random(f"{self.seed}/kills")
        part = self.lines / (self.kills + 1)
        return [int(part * (number + random.uniform(0.5, 1.0))) for number in range(self.kills)]


@dataclass(slots=True)
class Report:
    """The results of a run. `resumed_seconds` are the times from each restart to the next answered line."""

    plan: Plan
    seconds: float = 0.0
    kills: int = 0
    killed_at: list[int] = field(default_factory=list)  # How many lines had an answer at each kill.
    status: str = ""
    calls: int = 0  # the number of calls by the model server's ledger
    billed: int = 0
    in_doubt: int = 0
    doubled: int = 0  # calls for lines that an earlier call was made for
    resumed_seconds: list[float] = field(default_factory=list)
    pages: int = 0
    violations: list[str] = field(default_factory=list)


class Reader(threading.Thread):
    """A client that reads the growing output file by `offset`, while the server is killed and comes back."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.lines: list[str] = []
        self.pages = 0
        self.url = ""
        self.file_id = ""
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with contextlib.suppress(httpx.HTTPError):
                self.read()

    def read(self) -> None:
        if not self.url or not self.file_id:
            return
        query = {"offset": len(self.lines), "limit": PAGE_LINES}
        answer = httpx.get(f"{self.url}/v1/files/{self.file_id}/content", params=query, timeout=20)
        if answer.status_code == 200:
            self.lines += answer.text.splitlines()
            self.pages += 1


def run(plan: Plan, folder: Path) -> Report:
    report, started = Report(plan), time.monotonic()
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    source = folder / "lines.jsonl"
    source.write_text("".join(line_of(number) for number in range(plan.lines)))
    with model_process(ledger, plan.seed, plan.latency_seconds, faults=()) as model_url:
        flags = [*openai(model_url, AI_CONCURRENCY=plan.concurrency, **VARIABLES), "--cron-every", "1"]
        reader = Reader()
        reader.start()
        try:
            batch_id = _kill_over_and_over(report, source, folder / "state", flags, reader)
            _let_finish(report, batch_id, folder / "state", flags, reader)
        finally:
            reader.end()
    report.calls = len(read_ledger(ledger))
    report.doubled = _doubled(ledger)
    report.pages = reader.pages
    audit_bill(report)
    late = sum(done >= plan.lines for done in report.killed_at)
    if late:
        report.violations.append(f"{late} of {report.kills} kills came when no line was left")
    report.seconds = time.monotonic() - started
    return report


def line_of(number: int) -> str:
    return line_of_batch(f"line-{number}", f"{TEXT} {number} of a batch.", "test-model")


def start_batch(url: str, source: Path) -> str:
    with Client(url) as client:
        client.http.timeout = 120
        return str(client.start_batch(source.read_bytes())["id"])


def batch_of(url: str, batch_id: str) -> dict[str, Any]:
    with Client(url) as client:
        return client.batch(batch_id)


def _kill_over_and_over(report: Report, source: Path, state: Path, flags: Sequence[str], reader: Reader) -> str:
    plan, batch_id = report.plan, ""
    for until in plan.kill_at():
        server = DevServer(state, *flags)
        server.start()
        begun_at = time.monotonic()
        if not batch_id:
            batch_id = start_batch(server.url, source)
        else:
            _resumed(report, server.url, batch_id, reader, begun_at)
        done = _watch(server.url, batch_id, reader, until=until, seconds=plan.settle_seconds)
        reader.url = ""
        server.kill()
        server.__exit__(None, None, None)
        report.kills += 1
        report.killed_at.append(done)
        say(f"kill {report.kills}/{plan.kills}: {done} of {plan.lines} lines have an answer, {len(reader.lines)} read")
    return batch_id


def _resumed(report: Report, url: str, batch_id: str, reader: Reader, begun_at: float) -> int:
    found = batch_of(url, batch_id)
    done = found["request_counts"]["completed"]
    if found["status"] in ENDED | {"finalizing"}:
        return int(done)
    done = _watch(url, batch_id, reader, until=done + 1, seconds=report.plan.settle_seconds)
    report.resumed_seconds.append(time.monotonic() - begun_at)
    return done


def _watch(url: str, batch_id: str, reader: Reader, *, until: int, seconds: float) -> int:
    reader.url, deadline = url, time.monotonic() + seconds
    while True:
        found = batch_of(url, batch_id)
        reader.file_id = found["output_file_id"] or ""
        done = int(found["request_counts"]["completed"])
        if done >= until or found["status"] in ENDED or time.monotonic() > deadline:
            return done
        threading.Event().wait(LOOK_SECONDS)


def _let_finish(report: Report, batch_id: str, state: Path, flags: Sequence[str], reader: Reader) -> None:
    with DevServer(state, *flags) as server:
        begun_at = time.monotonic()
        if batch_id:
            _resumed(report, server.url, batch_id, reader, begun_at)
        else:
            batch_id = start_batch(server.url, state.parent / "lines.jsonl")
        deadline, said = time.monotonic() + report.plan.settle_seconds, 0.0
        while (found := batch_of(server.url, batch_id))["status"] not in ENDED and time.monotonic() < deadline:
            reader.url, reader.file_id = server.url, found["output_file_id"] or ""
            if time.monotonic() > said + 10:
                said = time.monotonic()
                say(f"{found['status']}: {found['request_counts']}, {len(reader.lines)} lines read")
            threading.Event().wait(LOOK_SECONDS)
        report.status = found["status"]
        usage = found["onceover"]["usage"]
        report.billed, report.in_doubt = usage["modelCalls"], usage["inDoubt"]
        whole = httpx.get(f"{server.url}/v1/files/{found['output_file_id']}/content", timeout=120).text.splitlines()
        reader.url, reader.file_id = server.url, found["output_file_id"]
        while len(reader.lines) < len(whole) and time.monotonic() < deadline:
            threading.Event().wait(LOOK_SECONDS)
    audit_files(report, found, whole, reader.lines)


def audit_files(report: Report, found: dict[str, Any], whole: list[str], read: list[str]) -> None:
    counts = Counter(json.loads(line)["custom_id"] for line in whole)
    missing = [number for number in range(report.plan.lines) if f"line-{number}" not in counts]
    checks = {
        f"the batch is {found['status']}": found["status"] == "completed",
        f"{len(missing)} lines are missing": not missing,
        f"{counts.total() - len(counts)} lines are doubled": counts.total() == len(counts),
        f"request_counts says {found['request_counts']}": found["request_counts"]
        == {"total": report.plan.lines, "completed": report.plan.lines, "failed": 0},
        "the reader by offset has not seen the same file": read == whole,
    }
    report.violations += [text for text, holds in checks.items() if not holds]


def _doubled(ledger: Path) -> int:
    calls = Counter(call.user for call in read_ledger(ledger))
    return calls.total() - len(calls)


def audit_bill(report: Report) -> None:
    if not report.billed - report.in_doubt <= report.calls <= report.billed:
        report.violations.append(f"{report.calls} calls by the ledger, {report.billed} billed")
    if report.doubled > report.in_doubt:
        report.violations.append(f"{report.doubled} doubled calls, and only {report.in_doubt} in doubt")


def table(report: Report) -> str:
    resumed = ", ".join(f"{seconds:.1f}" for seconds in report.resumed_seconds) or "no restart"
    lines = [
        ("seed", report.plan.seed),
        ("lines", report.plan.lines),
        ("seconds", f"{report.seconds:.0f}"),
        ("SIGKILLs of the process group", report.kills),
        ("answered lines at each kill", ", ".join(map(str, report.killed_at))),
        ("status", report.status),
        ("seconds from ready to the next answer", resumed),
        ("model calls, by the ledger", report.calls),
        ("model calls, by the bill", f"{report.billed}, {report.in_doubt} of them in doubt"),
        ("doubled calls", report.doubled),
        ("pages of the reader", report.pages),
        ("violations", len(report.violations)),
    ]
    return aligned(lines, report.violations)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plan and print the report. Return the exit status, 0 if the audit found no violation."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.batch_chaos")
    parser.add_argument("--lines", type=positive, default=2000, help="how many lines (default 2000)")
    parser.add_argument("--kills", type=positive, default=5, help="how many SIGKILLs (default 5)")
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--keep", type=Path, help="an empty folder for the state and the ledger, left in place")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    say(f"seed {seed}")
    plan = Plan(options.lines, options.kills, seed)
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batch-chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        report = run(plan, folder)
    print(table(report))
    keep_figures(kills=report.kills, lines=report.plan.lines, violations=len(report.violations))
    return 1 if report.violations or report.kills < plan.kills else 0


if __name__ == "__main__":
    sys.exit(main())
