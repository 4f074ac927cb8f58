"""`python -m tests.upgrade --from COMMIT` upgrades and downgrades the real runtime under load, with SIGKILLs.

Version N is `src` and `migrations` of an older commit; version N+1 is this tree's code. The two versions serve the same
state in turns, while clients submit and the model sometimes fails, as in `make chaos`. Each turn ends with a SIGKILL at
a random moment, or with Ctrl-C. When version N comes back, as after a rollback, the migrations of version N+1 stay. One
of three tasks has its text in a file, and a batch runs through all turns. At the end every task must have ended with
the right output, each line of the batch must stand once in its file, and the model server's ledger must agree with the
bill.

The oldest possible version N is the commit that added `migrations/0001_initial.sql`, because older code has another
schema.
"""

import argparse
import contextlib
import io
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import httpx

from simulator.figures import keep_figures
from simulator.options import positive
from tests import batch_chaos, chaos
from tests.chaos import Plan, Report, Stream, say
from tests.support.chaos_audit import audit, good_repeats
from tests.support.chaos_work import Submission
from tests.support.client import openai
from tests.support.dev_server import ROOT, DevServer
from tests.support.model_plan import Call, read_ledger
from tests.support.worker_copy import copy_worker

PARTS = ("src", "migrations")
FIRST = "migrations/0001_initial.sql"
# The turns use the queue and the objects, because there the messages and alarms of one version reach the other version.
ENVIRONMENTS = ("", "free")
GENTLE = 0.25  # the probability that a turn ends with Ctrl-C instead of a SIGKILL
LINES_A_TURN = 25  # the batch has so many for each turn, more than a turn has time for
EACH_FILE = 3  # one of so many tasks has its text in a file


class Texts(Stream):
    """A client that submits some texts as files."""

    def body_of(self, submission: Submission, url: str) -> dict[str, Any]:
        body = submission.body()
        if len(self.accepted) % EACH_FILE:
            return body
        opened = ("text.txt", body.pop("input").encode(), "text/plain")
        sent = httpx.post(f"{url}/v1/files", data={"purpose": "user_data"}, files={"file": opened}, timeout=30)
        return body | {"inputFile": sent.raise_for_status().json()["id"]}


class Lines:
    """A batch that is started in the first turn that takes it, and audited after the last one."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.report = batch_chaos.Report(batch_chaos.Plan(LINES_A_TURN * plan.kills, plan.kills, plan.seed))
        self._source = folder / "lines.jsonl"
        self._source.write_text("".join(batch_chaos.line_of(number) for number in range(self.report.plan.lines)))
        self.batch_id = ""
        self.done = 0

    def start(self, url: str) -> None:
        """Upload the file and start the batch, unless this was done."""
        if not self.batch_id:
            self.batch_id = batch_chaos.start_batch(url, self._source)

    def look(self, url: str) -> None:
        self.done = batch_chaos.batch_of(url, self.batch_id)["request_counts"]["completed"]

    def ended(self, url: str) -> bool:
        return batch_chaos.batch_of(url, self.batch_id)["status"] in batch_chaos.ENDED

    def audit(self, url: str) -> None:
        """Compare the batch's counts and its output file with its lines."""
        found = batch_chaos.batch_of(url, self.batch_id)
        usage = found["onceover"]["usage"]
        self.report.billed, self.report.in_doubt = usage["modelCalls"], usage["inDoubt"]
        content = httpx.get(f"{url}/v1/files/{found['output_file_id']}/content", timeout=60)
        whole = content.text.splitlines() if content.status_code == 200 else []
        batch_chaos.audit_files(self.report, found, whole, whole)

    def violations(self, calls: list[Call]) -> list[str]:
        """Compare the ledger's calls for lines with the bill, and return all that is wrong with the batch."""
        self.report.calls, self.report.doubled = len(calls), good_repeats(calls).total()
        batch_chaos.audit_bill(self.report)
        return self.report.violations


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def release_before() -> str:
    """Return the commit before the newest migration, or that which added it if it is the first."""
    came = ("log", "-1", "--format=%H", "--diff-filter=A", "--no-renames", "--")
    newest, first = _git(*came, "migrations/*.sql"), _git(*came, FIRST)
    return first if newest == first else _git("rev-parse", f"{newest}^")


def has_schema(commit: str) -> bool:
    """Whether a commit has the first migration; the database of an older commit cannot be upgraded."""
    return bool(_git("ls-tree", "--name-only", commit, FIRST))


def lay_out(folder: Path, commit: str) -> tuple[Path, Path]:
    """Make two folders to serve, with older and with this code, and this tree's configuration."""
    old, new = folder / "old", folder / "new"
    packed = subprocess.run(["git", "archive", commit, *PARTS], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(old, filter="data")
    shutil.copy(ROOT / "wrangler.toml", old)
    return old, copy_worker(new)


def _server(project: Path, state: Path, env: str, flags: Sequence[str]) -> DevServer:
    environment = ("--env", env) if env else ()
    return DevServer(state, *environment, *flags, project=project)


def _take_turns(
    report: Report,
    turns: Counter[str],
    stream: Stream,
    lines: Lines,
    state: Path,
    projects: Sequence[Path],
    flags: Sequence[str],
) -> None:
    plan, random = report.plan, Random(f"{report.plan.seed}/turns")
    for turn in range(plan.kills):
        project, env = projects[turn % 2], random.choice(ENVIRONMENTS)
        server = _server(project, state, env, flags).start()
        lines.start(server.url)
        stream.connect(server.url)
        life = random.uniform(0.5, plan.life_seconds)
        threading.Event().wait(life)
        lines.look(server.url)
        is_gentle = random.random() < GENTLE
        if not is_gentle:
            stream.connect("")
            server.kill()
            report.kills += 1
        else:
            server.stop(30)
            stream.connect("")
        server.__exit__(None, None, None)
        turns[project.name] += 1
        say(
            f"turn {turn + 1}/{plan.kills}, {project.name}, {env or 'top'}, {'Ctrl-C' if is_gentle else 'SIGKILL'}"
            f" after {life:.1f} s: {len(stream.accepted)}/{plan.tasks} tasks accepted, {lines.done} lines answered"
        )


def _let_finish(
    report: Report, stream: Stream, lines: Lines, project: Path, state: Path, flags: Sequence[str]
) -> list[dict[str, Any]]:
    deadline = time.monotonic() + report.plan.settle_seconds
    with _server(project, state, "", flags) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        stream.connect(server.url)
        while time.monotonic() < deadline:
            open_tasks = sum(not task["terminal"] for task in chaos._list(client))
            if stream.done() and open_tasks == 0 and lines.ended(server.url):
                break
            threading.Event().wait(0.5)
        lines.audit(server.url)
        return [chaos._read(client, task["id"]) for task in chaos._list(client)]


def run(plan: Plan, folder: Path, commit: str, *, ends_old: bool) -> tuple[Report, Counter[str]]:
    report, turns, started = Report(plan), Counter[str](), time.monotonic()
    projects = lay_out(folder, commit)
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    with chaos.model_process(ledger, plan.seed) as model_url:
        flags = [*openai(model_url, **chaos.VARIABLES), "--cron-every", "1"]
        stream = Texts(plan, plan.kills * plan.life_seconds / 2 / plan.tasks)
        lines = Lines(plan, folder)
        stream.start()
        try:
            _take_turns(report, turns, stream, lines, folder / "state", projects, flags)
            tasks = _let_finish(report, stream, lines, projects[0 if ends_old else 1], folder / "state", flags)
        finally:
            stream.stop()
        report.submitted, report.resubmitted = len(stream.accepted), stream.resubmitted
    calls = read_ledger(ledger)
    of_lines = [call for call in calls if call.user.startswith(batch_chaos.TEXT)]
    ours = [task for task in tasks if "tag" in task["metadata"]]  # the list has the batch, too
    report.audit = audit(stream.accepted, ours, [call for call in calls if call not in of_lines])
    report.audit.violations += lines.violations(of_lines)
    report.seconds = time.monotonic() - started
    return report, turns


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plan and print the report. Return the exit status, 0 if the audit found no violation."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.upgrade")
    parser.add_argument(
        "--from", dest="commit", help="version N; default: the commit before the newest migration, or that of the first"
    )
    parser.add_argument("--turns", type=positive, default=12, help="how often the version changes (default 12)")
    parser.add_argument("--tasks", type=positive, default=120, help="how many tasks (default 120)")
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--settle", type=float, default=240, help="seconds that the tasks may take in the end")
    parser.add_argument(
        "--end", choices=("old", "new"), default="new", help="whose code lets them finish (default new)"
    )
    options = parser.parse_args(arguments)
    commit = options.commit or release_before()
    if not has_schema(commit):
        parser.error(f"{commit} has no {FIRST}: a database of it cannot be upgraded")
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    say(f"seed {seed}, from {commit}")
    plan = Plan(options.turns, options.tasks, seed, options.settle)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upgrade-")))
        report, turns = run(plan, folder, commit, ends_old=options.end == "old")
    print(f"turns: {turns['old']} with the older code, {turns['new']} with the newer, the {options.end} one finished")
    print(chaos.table(report))
    keep_figures(kills=report.kills, tasks=report.submitted, violations=len(report.audit.violations))
    return 1 if report.audit.violations else 0


if __name__ == "__main__":
    sys.exit(main())
