"""`python -m tests.clients.chaos` uses OpenAI's unmodified SDK under SIGKILLs and through a proxy that loses answers.

The run is that of `make chaos`, with long texts and another client. The proxy loses one answer in ten. The program
submits each text once and polls it to its end; only the SDK repeats requests. The Worker joins a repeated request to
the first one by the SDK's repetition count. With `--stripped` the proxy removes the SDK's repetition count, and some
texts get two tasks.
"""

import argparse
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

import openai

from simulator.figures import keep_figures
from simulator.options import positive
from tests.chaos import Plan, Report, run, say, table
from tests.clients.losing_proxy import LosingProxy
from tests.support.chaos_work import MAX_CHARS, Submission

AT_ONCE = 4
RETRIES = 30  # The SDK's default of two retries would be used up before a killed runtime is back.
LIFE_SECONDS = 16.0  # The longest life of the runtime, because the SDK may wait for eight seconds before a repetition.
POLL_SECONDS = 2.0
PARTS = (3, 5, 8, 13, 21)


class SdkStream:
    """Clients in several threads, each of which submits texts with the SDK, and then polls them to their ends."""

    def __init__(self, plan: Plan, pause_seconds: float, *, stripped: bool) -> None:
        self.accepted: list[str] = []
        self.read: list[str] = []  # the last status of each response that was polled to its end
        self.resubmitted = 0
        self.proxy = LosingProxy(plan.seed, strips=stripped)
        self._plan = plan
        self._pause_seconds = pause_seconds
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(at,), daemon=True) for at in range(AT_ONCE)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def connect(self, url: str) -> None:
        self.proxy.target = url

    def done(self) -> bool:
        self.resubmitted = self.proxy.repeated
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._ended.set()
        self.proxy.shutdown()

    def _run(self, at: int) -> None:
        client = openai.OpenAI(base_url=f"{self.proxy.url}/v1", api_key="any", max_retries=RETRIES, timeout=60)
        random = Random(f"{self._plan.seed}/sdk/{at}")
        mine: list[str] = []
        for index in range(at, self._plan.tasks, AT_ONCE):
            submission = Submission(f"t{index:04}", random.choice(PARTS), random.choice(("concat", "merge")))
            if self._ended.is_set():
                return
            mine.append(_submit(client, submission))
            self.accepted.append(mine[-1].removeprefix("resp_"))
            self._ended.wait(random.uniform(0, 2 * self._pause_seconds))
        self.read.extend(self._polled(client, response_id) for response_id in mine)

    def _polled(self, client: openai.OpenAI, response_id: str) -> str:
        while (status := client.responses.retrieve(response_id).status) in {"queued", "in_progress"}:
            if self._ended.wait(POLL_SECONDS):
                break
        return str(status)


def _submit(client: openai.OpenAI, submission: Submission) -> str:
    body = submission.body()
    response = client.responses.create(
        input=body["input"],
        instructions=body["instructions"],
        background=True,
        metadata={name: str(value) for name, value in body["metadata"].items()},
        extra_body={"onceover": {"reduce": body["reduce"], "chunk": {"maxChars": MAX_CHARS}}},
    )
    return response.id


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plan and print the report. Return the exit status, 0 if the audit found no violation."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.clients.chaos")
    parser.add_argument("--kills", type=positive, default=20, help="how many SIGKILLs (default 20)")
    parser.add_argument("--tasks", type=positive, default=100, help="how many texts (default 100)")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--stripped", action="store_true", help="take the SDK's count out: nothing is joined")
    options = parser.parse_args(arguments)
    plan = Plan(options.kills, options.tasks, options.seed, life_seconds=LIFE_SECONDS)
    streams: list[SdkStream] = []

    def make_client(plan: Plan, pause_seconds: float) -> SdkStream:
        streams.append(SdkStream(plan, pause_seconds, stripped=options.stripped))
        return streams[0]

    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        report = run(plan, Path(folder), make_client)
    say(table(report))
    (stream,) = streams
    doubled = doubles(report)
    say(f"answers lost on the wire  {stream.proxy.lost}\nrepetitions by the SDK    {stream.proxy.repeated}")
    say(f"answers not the Worker's  {stream.proxy.strange}\ntexts with two tasks      {doubled}")
    completed = stream.read.count("completed")
    say(f"polled to completion      {completed}")
    keep_figures(kills=report.kills, tasks=report.submitted, violations=len(report.audit.violations) + doubled)
    whole = report.submitted == completed == plan.tasks
    return 0 if whole and not report.audit.violations and not doubled else 1


def doubles(report: Report) -> int:
    return sum(count > 1 for count in report.tags.values())


if __name__ == "__main__":
    sys.exit(main())
