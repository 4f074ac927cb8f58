"""`make chaos KILLS=20` kills the real runtime at random moments under a stream of tasks, then audits every task.

The program kills the runtime with SIGKILL. The model is a separate server, with faults and a ledger of its calls.
Clients repeat requests that got no answer. After each kill, `make chaos` may continue on the same stored state in
another environment of wrangler.toml. Every random choice comes from `--seed`, but the machine's timing may differ.
"""

import argparse
import contextlib
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import httpx

from simulator.figures import keep_figures
from simulator.options import positive
from tests.support.chaos_audit import Audit, audit
from tests.support.chaos_work import Submission, submissions
from tests.support.client import openai
from tests.support.dev_server import ROOT, DevServer
from tests.support.model_plan import read_ledger

ENVIRONMENTS = ("", "free", "direct")
FAULTS = ("rate_limit=0.02", "error=0.03", "hang=0.01", "drop=0.02", "cut=0.01", "garbage=0.02", "empty=0.01")
LATENCY_SECONDS = 0.15
VARIABLES = {"AI_TIMEOUT_SECONDS": 2, "LEASE_SECONDS": 4, "MAX_ATTEMPTS": 20, "PLAN": "paid"}


@dataclass(slots=True)
class Plan:
    """The plan of a run. `settle_seconds` is the time that the tasks may take to end after the last kill."""

    kills: int
    tasks: int
    seed: int
    settle_seconds: float = 240
    life_seconds: float = 4.0


@dataclass(slots=True)
class Report:
    plan: Plan
    seconds: float = 0.0
    kills: int = 0
    kills_at_start: int = 0
    changes: int = 0
    submitted: int = 0
    resubmitted: int = 0
    # `tags` counts the tasks by their tag, and `audit` is the audit of all tasks at the end.
    tags: Counter[str] = field(default_factory=Counter)
    audit: Audit = field(default_factory=Audit)


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def model_process(
    ledger: Path, seed: int, latency_seconds: float = LATENCY_SECONDS, faults: Sequence[str] = FAULTS
) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.model_server", "--ledger", str(ledger)]
    command += ["--latency", str(latency_seconds), "--seed", str(seed)]
    command += [part for fault in faults for part in ("--fault", fault)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("Ready on ")
        finally:
            process.send_signal(signal.SIGTERM)


class Stream:
    """A client that submits tasks one after another, and submits a task again if its request got no answer."""

    def __init__(self, plan: Plan, pause_seconds: float) -> None:
        self.accepted: list[str] = []
        self.resubmitted = 0
        self._work = list(submissions(plan.seed, plan.tasks))
        self._random = Random(f"{plan.seed}/client")
        self._pause_seconds = pause_seconds
        self._url = ""
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def connect(self, url: str) -> None:
        with self._news:
            self._url = url
            self._news.notify_all()

    def done(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._ended.set()
        self.connect("nowhere")
        self._thread.join()

    def body_of(self, submission: Submission, url: str) -> dict[str, Any]:
        """Return what the client sends. May raise httpx.HTTPError if it has to send something before."""
        return submission.body()

    def _run(self) -> None:
        for index, (parts, reduce) in enumerate(self._work):
            attempt = 0
            while not self._ended.is_set():
                if self._submit(Submission(f"t{index:04}x{attempt}", parts, reduce)):
                    break
                attempt += 1
                self.resubmitted += 1
                self._ended.wait(0.1)
            self._ended.wait(self._random.uniform(0, 2 * self._pause_seconds))

    def _submit(self, submission: Submission) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._url)
            url = self._url
        try:
            answer = httpx.post(f"{url}/api/tasks", json=self.body_of(submission, url), timeout=30)
        except httpx.HTTPError:
            return False
        if answer.status_code == 202:
            self.accepted.append(answer.json()["id"])
        return answer.status_code == 202


class Client(Protocol):
    """The part of a run that submits tasks."""

    accepted: list[str]
    resubmitted: int

    def start(self) -> None: ...

    def connect(self, url: str) -> None:
        """Set the server's address; an empty text means that no server runs."""
        ...

    def done(self) -> bool:
        """Whether the client has ended, because every task was accepted or because of `stop`."""
        ...

    def stop(self) -> None:
        """End the client, without submitting the remaining tasks."""
        ...


def run(plan: Plan, folder: Path, make_client: Callable[[Plan, float], Client] = Stream) -> Report:
    report = Report(plan)
    started = time.monotonic()
    random = Random(f"{plan.seed}/kills")
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    with model_process(ledger, plan.seed) as model_url:
        flags = [*openai(model_url, **VARIABLES), "--cron-every", "1"]
        stream = make_client(plan, plan.kills * plan.life_seconds / 2 / plan.tasks)
        stream.start()
        try:
            _kill_over_and_over(report, random, stream, folder / "state", flags)
            tasks = _let_finish(report, stream, folder / "state", flags)
        finally:
            stream.stop()
        report.submitted = len(stream.accepted)
        report.resubmitted = stream.resubmitted
    report.tags = Counter(task["metadata"]["tag"] for task in tasks)
    report.audit = audit(stream.accepted, tasks, read_ledger(ledger))
    report.seconds = time.monotonic() - started
    return report


def _server(state: Path, env: str, flags: Sequence[str]) -> DevServer:
    return DevServer(state, *(("--env", env) if env else ()), *flags)


def _kill_over_and_over(report: Report, random: Random, stream: Client, state: Path, flags: Sequence[str]) -> None:
    plan, env = report.plan, random.choice(ENVIRONMENTS)
    while report.kills < plan.kills:
        if random.random() < 0.35:
            env = random.choice([other for other in ENVIRONMENTS if other != env])
            report.changes += 1
        server = _server(state, env, flags)
        if random.random() < 0.1:
            server.launch()
            life = random.uniform(0.2, 4)
            report.kills_at_start += 1
        else:
            server.start()
            stream.connect(server.url)
            life = random.uniform(0.1, plan.life_seconds)
        threading.Event().wait(life)
        stream.connect("")
        server.kill()
        server.__exit__(None, None, None)
        report.kills += 1
        say(
            f"kill {report.kills}/{plan.kills} after {life:.1f} s in {env or 'top'}:"
            f" {len(stream.accepted)}/{plan.tasks} tasks accepted"
        )


def _let_finish(report: Report, stream: Client, state: Path, flags: Sequence[str]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + report.plan.settle_seconds
    with _server(state, "", flags) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        stream.connect(server.url)
        said = 0.0
        while True:
            # One list of all tasks: between a list for each status, a task may go from one status to the other.
            open_tasks = sum(not task["terminal"] for task in _list(client))
            if stream.done() and open_tasks == 0:
                break
            if time.monotonic() > deadline:
                say("the time is up")
                break
            if time.monotonic() > said + 5:
                said = time.monotonic()
                say(f"waiting: {len(stream.accepted)}/{report.plan.tasks} accepted, {open_tasks} not ended")
            threading.Event().wait(0.5)
        return [_read(client, task["id"]) for task in _list(client)]


def _read(client: httpx.Client, task_id: str) -> dict[str, Any]:
    document: dict[str, Any] = client.get(f"/api/tasks/{task_id}").raise_for_status().json()
    return document


def _list(client: httpx.Client) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = []
    query = {"limit": "100"}
    while True:
        page = client.get("/api/tasks", params=query).raise_for_status().json()
        tasks += page["tasks"]
        if page["nextCursor"] is None:
            return tasks
        query["cursor"] = page["nextCursor"]


def table(report: Report) -> str:
    found = report.audit
    lines = [
        ("seed", report.plan.seed),
        ("seconds", f"{report.seconds:.0f}"),
        ("SIGKILLs of the process group", f"{report.kills}, {report.kills_at_start} of them before it was ready"),
        ("changes of environment", report.changes),
        ("tasks accepted", report.submitted),
        ("submissions sent again", report.resubmitted),
        ("tasks whose 202 was lost", found.lost_replies),
        ("tasks by status", ", ".join(f"{count} {name}" for name, count in sorted(found.statuses.items()))),
        ("tasks by last route", ", ".join(f"{count} {name}" for name, count in sorted(found.routes.items()))),
        ("model calls, by the ledger", found.ledger_calls),
        ("model calls, by the tasks", f"{found.model_calls}, {found.in_doubt} of them in doubt"),
        ("calls without any failure", found.minimum_calls),
        ("good answers paid for again", found.asked_again),
        ("violations", len(found.violations)),
    ]
    return aligned(lines, found.violations)


def aligned(lines: Sequence[tuple[str, object]], violations: Sequence[str]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join([*(f"{name:<{width}}  {value}" for name, value in lines), *violations])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plan and print the report. Return the exit status, 0 if the audit found no violation."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.chaos")
    parser.add_argument("--kills", type=positive, default=20, help="how many SIGKILLs (default 20)")
    parser.add_argument("--tasks", type=positive, default=200, help="how many tasks (default 200)")
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--settle", type=float, default=240, help="seconds that the tasks may take in the end")
    parser.add_argument("--keep", type=Path, help="an empty folder for the state and the ledger, left in place")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    say(f"seed {seed}")
    plan = Plan(options.kills, options.tasks, seed, options.settle)
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        report = run(plan, folder)
    print(table(report))
    keep_figures(kills=report.kills, tasks=report.submitted, violations=len(report.audit.violations))
    return 1 if report.audit.violations or report.kills < plan.kills else 0


if __name__ == "__main__":
    sys.exit(main())
