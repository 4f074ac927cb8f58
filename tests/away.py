"""`python -m tests.away` takes the model away in the middle of many tasks on the real runtime.

For each absence, the program submits tasks, waits until their model calls are under way, makes the model answer 500 for
a set time, and then waits for the tasks. All tasks must complete, and they must make few calls during the absence. The
absences last in real time.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.loopback import reserved_port
from tests.support.model_plan import Plan, status
from tests.support.model_server import ModelServer

PROBES_AN_HOUR_MOST = 32
CALLS_OUT_MOST = 6  # the largest number of a task's calls that can be in flight when the model goes away
SUBMITTED_AT_ONCE = 8
SETTLE_SECONDS = 1_200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened during and after an absence of the model."""

    away_seconds: float
    tasks: int
    completed: int
    served: int
    asked: int
    asked_by_one_most: int
    seconds_after_return: float
    chunks: int

    @property
    def is_as_it_should_be(self) -> bool:
        probes_most = CALLS_OUT_MOST + 1 + PROBES_AN_HOUR_MOST * max(self.away_seconds / 3_600, 0.25)
        return (
            self.completed == self.tasks
            and self.served == self.tasks * self.chunks
            and self.asked_by_one_most <= probes_most
        )


def submitted(client: Client, tasks: int, chunks: int) -> list[Json]:
    def submit(at: int) -> Json:
        return client.submit(paragraphs(chunks), chunk={"maxChars": 40}, instructions=f"task {at:04}")

    with ThreadPoolExecutor(SUBMITTED_AT_ONCE) as pool:
        return list(pool.map(submit, range(tasks)))


def be_away(client: Client, port: int, seconds: float, tasks: int, chunks: int) -> Outcome:
    with ModelServer(api_key="test-key", latency_seconds=2, port=port) as model:
        made = submitted(client, tasks, chunks)
        model.wait_for_calls(min(30, tasks * chunks // 2), 300)
        model.plan = Plan(decide=lambda _: status(500))
        before = len(model.calls())
        time.sleep(seconds)  # the model is away during this pause
        asked = [call for call in model.calls()[before:] if call.answered == "status 500"]
        model.plan = Plan()
        back = time.monotonic()
        done = [client.finished(task["id"], SETTLE_SECONDS) for task in made]
        return Outcome(
            seconds,
            tasks,
            sum(task["status"] == "completed" and not task["progress"]["failed"] for task in done),
            sum(call.answered == "ok" for call in model.calls()),
            len(asked),
            max(Counter(call.system for call in asked).values(), default=0),
            time.monotonic() - back,
            chunks,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each absence, and print the results. Return the exit status, 0 if every task ended as expected."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.away")
    parser.add_argument("--route", choices=sorted(ENVIRONMENTS), default="queue")
    parser.add_argument("--seconds", type=float, nargs="+", default=[30, 300], help="of each absence (default 30 300)")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--chunks", type=int, default=12, help="of a task")
    options = parser.parse_args(arguments)
    port = reserved_port()
    settings = openai(f"http://127.0.0.1:{port}/v1", PLAN="paid", AI_TIMEOUT_SECONDS=10, LEASE_SECONDS=30)
    flags = [*ENVIRONMENTS[options.route], *settings, "--cron-every", "60"]
    wrong = 0
    with tempfile.TemporaryDirectory() as state, DevServer(Path(state), *flags) as dev, Client(dev.url) as client:
        for seconds in options.seconds:
            outcome = be_away(client, port, seconds, options.tasks, options.chunks)
            wrong += not outcome.is_as_it_should_be
            print(f"{options.route}, {outcome}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
