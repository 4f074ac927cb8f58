"""`python -m tests.broken_deployments` lets `onceover verify` examine broken deployments, and counts those it names.

Each is this Worker with one fault: an edited copy of its files, or a model that is out of order. A fault is named if
`verify` ends with status 1 and the wanted check says what is wrong. `--only NUMBER…` takes some of them. `--sound`
examines sound deployments instead, in each environment, and prints what that takes.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.support.client import openai
from tests.support.dev_server import ROOT, DevServer
from tests.support.loopback import reserved_port
from tests.support.model_plan import Plan, garbage, ok
from tests.support.model_server import ModelServer
from tests.support.programs import ran
from tests.support.worker_copy import copy_worker

HOOKS = {"WEBHOOK_KEY": "k" * 32, "WEBHOOK_LOOPBACK": "true"}
SECONDS = 3.0  # of a model call: tasks that end at once cannot be watched
SOUND = Plan(decide=lambda _: ok('{"summary": "a part"}'))


class Edit(NamedTuple):
    """A change to a file of the Worker, or its removal if `old` is empty."""

    file: str
    old: str
    new: str


class Broken(NamedTuple):
    """A deployment with a fault: the check that must find it, what the check must say, and the fault.

    `is_quick` says that `verify` takes less than a minute, so that `make test` has it.
    """

    name: str
    check: str
    says: str
    edits: tuple[Edit, ...]
    plan: Plan = SOUND
    is_quick: bool = False


class Seen(NamedTuple):
    """What `verify` did: its exit status and its seconds, its report if it wrote one, and what it printed.

    `calls` is how many calls the model got, `left` what the deployment still has of tasks, files and endpoints, and
    `rows` how many rows of D1 were read and written in all, if the runtime was metered.
    """

    status: int
    seconds: float
    report: dict[str, Any]
    said: str
    calls: int
    left: list[Any]
    rows: tuple[int, int]

    def faults(self) -> dict[str, str]:
        """Return what the checks that found a fault say."""
        found = (one for one in self.report.get("checks", ()) if one["verdict"] == "fault")
        return {one["check"]: f"{one['saw']}. {one['means']}" for one in found}


_CONSUMER = """[[queues.consumers]]
queue = "ai-processing-queue"
max_batch_size = 1
max_batch_timeout = 30
max_retries = 2
dead_letter_queue = "ai-processing-dlq"
"""
_NEWEST_MIGRATION = str(max((ROOT / "migrations").glob("*.sql")).relative_to(ROOT))
# A queue may deliver twice: by itself this is no fault.
_TWICE = Edit(
    "src/platform/queues.py",
    "await self._binding.send(into_javascript(body), into_javascript(options))",
    "[await self._binding.send(into_javascript(body), into_javascript(options)) for _ in 'ab']",
)
BROKEN = (
    Broken("no consumer", "route queue", "consumer", (Edit("wrangler.toml", _CONSUMER, ""),)),
    Broken(
        "an old schema",
        "schema|database",
        "make deploy",
        (Edit(_NEWEST_MIGRATION, "", ""),),
        is_quick=True,
    ),
    Broken(
        "a bucket in which reads find nothing",
        "files",
        "BLOBS",
        (
            Edit(
                "src/platform/r2.py",
                "found = await self._binding.get(key)",
                'found = await self._binding.get(f"-{key}")',
            ),
            Edit("src/platform/r2.py", "self._binding.get(key, options)", 'self._binding.get(f"-{key}", options)'),
        ),
    ),
    Broken(
        "timers that never fire",
        "streams and timers",
        "Timers",
        (Edit("src/platform/event_loop.py", "max(1, math.ceil(delay * 1000))", "round(LONGEST_SECONDS * 1000)"),),
    ),
    Broken(
        "a queue that drops",
        "route queue",
        "queue",
        (
            Edit(
                "src/platform/queues.py",
                "await self._binding.send(into_javascript(body), into_javascript(options))",
                "pass",
            ),
        ),
    ),
    Broken(
        "alarms that never come",
        "route durable-object",
        "alarms",
        (
            Edit(
                "src/platform/objects.py",
                "return self._storage.setAlarm(at_ms)",
                'return self._storage.put("-", at_ms)',
            ),
        ),
    ),
    Broken("a model that answers HTML", "route queue", "model", (), Plan(decide=lambda _: garbage())),
    Broken(
        "a webhook key that changed",
        "webhooks",
        "WEBHOOK_KEY",
        (
            Edit(
                "src/features/webhooks/deliverer.py",
                "return tuple(webhooks.secret(key, endpoint_key, one)",
                "return tuple(webhooks.secret(key[::-1] + '-', endpoint_key, one)",
            ),
        ),
    ),
    Broken(
        "a queue that delivers twice, with claims that let both run",
        "route queue",
        "twice",
        (
            _TWICE,
            Edit("src/kernel/store/work_statements.py", "(lease_until <= {NOW} OR", "(1 OR"),
        ),
        is_quick=True,
    ),
    Broken(
        "a stream that is buffered",
        "streams and timers",
        "buffers",
        (
            Edit(
                "src/platform/http_messages.py",
                "wait_until(_send(reply.parts, stream.writable.getWriter()))",
                "wait_until(_send(_whole(reply.parts), stream.writable.getWriter()))",
            ),
            Edit(
                "src/platform/http_messages.py",
                "async def _send(",
                "async def _whole(parts: AsyncGenerator[str]) -> AsyncGenerator[str]:\n"
                "    yield ''.join([part async for part in parts])\n\n\nasync def _send(",
            ),
        ),
        is_quick=True,
    ),
    Broken(
        "a namespace of the wrong class",
        "route durable-object",
        "class|RPC",
        (Edit("wrangler.toml", 'class_name = "AIProcessor"', 'class_name = "BatchCoordinator"'),),
    ),
    Broken("cron that never comes", "cron", "crons", (Edit("wrangler.toml", 'crons = ["* * * * *"]', "crons = []"),)),
    Broken(
        "a database that takes no writes",
        "database",
        "write",
        (
            Edit(
                "src/platform/d1.py",
                "prepared = prepare(self._sql)",
                "reads = self._sql.lstrip().startswith(('SELECT', 'WITH', 'PRAGMA'))\n"
                "        prepared = prepare(self._sql if reads else 'INSERT INTO sqlite_master SELECT ' + "
                "', '.join(f'?{at + 1}' for at, _ in enumerate(self._values)))",
            ),
        ),
    ),
    Broken(
        "sums that are lost",
        "cleaning and sums",
        "sums",
        (Edit("src/kernel/store/tallies.py", "{name} = {name} + excluded.{name}", "{name} = {name}"),),
    ),
    Broken(
        "a result that is cut short",
        "streams and timers",
        "result",
        (
            Edit(
                "src/kernel/store/rows.py",
                "CONCAT_SEPARATOR.join(output.text for output in outputs)",
                "CONCAT_SEPARATOR.join(output.text for output in outputs[:-1])",
            ),
        ),
        is_quick=True,
    ),
)


# Cron comes every 5 s here, and each time is recorded: waiting for two of them would take most of the time.
_HASTE = (Edit("src/kernel/domain/limits.py", "SWEEP_SEEN_SECONDS = 90.0", "SWEEP_SEEN_SECONDS = 4.0"),)


def edited_copy(folder: Path, edits: Sequence[Edit] = ()) -> Path:
    project = copy_worker(folder)
    for edit in (*_HASTE, *edits):
        if not edit.old:
            (project / edit.file).unlink()
            continue
        text = (project / edit.file).read_text("utf-8")
        assert edit.old in text, edit
        (project / edit.file).write_text(text.replace(edit.old, edit.new, 1), "utf-8")
    return project


def examined(folder: Path, *flags: str, edits: Sequence[Edit] = (), plan: Plan = SOUND) -> Seen:
    project = edited_copy(folder / "project", edits)
    receiver = f"http://127.0.0.1:{reserved_port()}/hook"
    with (
        ModelServer(latency_seconds=SECONDS, plan=plan) as model,
        DevServer(
            folder / "state", *openai(model.base_url, **HOOKS), "--cron-every", "5", *flags, project=project
        ) as server,
    ):
        command = [sys.executable, "-m", "onceover_cli", "verify", "--url", server.url, "--receiver", receiver]
        began = time.monotonic()
        done = ran([*command, "--report", folder / "report"], cwd=ROOT, seconds=700)
        seconds, calls, remains = time.monotonic() - began, len(model.calls()), left(server.url)
    written = folder / "report.json"
    report = json.loads(written.read_text("utf-8")) if written.exists() else {}
    metered = [json.loads(line) for line in server.lines if line.startswith('{"event":"metered"')]
    rows = sum(one["rows_read"] for one in metered), sum(one["rows_written"] for one in metered)
    return Seen(done.returncode, seconds, report, done.stderr, calls, remains, rows)


def left(url: str) -> list[Any]:
    """Return what a deployment has of tasks, files and endpoints, or nothing if it does not say."""
    lists = (("/api/tasks", "tasks"), ("/v1/files", "data"), ("/v1/webhook_endpoints", "data"))
    return [one for path, name in lists for one in httpx.get(url + path, timeout=60).json().get(name, ())]


def is_named(broken: Broken, seen: Seen) -> bool:
    faults = seen.faults().items()
    by_check = [says for check, says in faults if re.fullmatch(broken.check, check)]
    return seen.status == 1 and any(re.search(broken.says, says) for says in by_check)


def main() -> int:
    """Examine the deployments, print what was seen, and return 1 unless each fault was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", default=range(1, len(BROKEN) + 1))
    parser.add_argument("--sound", action="store_true")
    asked = parser.parse_args()
    return examine_sound() if asked.sound else examine_broken(asked.only)


def examine_sound() -> int:
    statuses = list[int]()
    cases = {
        "top level": [],
        "free": ["--env", "free"],
        "direct": ["--env", "direct"],
        "a queue that delivers twice": [],
    }
    for name, flags in cases.items():
        edits = [_TWICE] if "twice" in name else []
        with tempfile.TemporaryDirectory() as folder:
            seen = examined(Path(folder), "--limits", "paid", *flags, edits=edits)
        statuses.append(seen.status)
        verdicts = Counter(one["verdict"] for one in seen.report["checks"])
        print(f"{name}: status {seen.status}, {dict(verdicts)}, {seen.seconds:.0f} s, ", end="")
        print(
            f"{seen.report['requests']} requests, {seen.calls} calls, {seen.rows[0]} rows read, {seen.rows[1]} written"
        )
        print("".join(f"     {check}: {says}\n" for check, says in seen.faults().items()), end="")
    return max(statuses)


def examine_broken(only: Sequence[int]) -> int:
    named = 0
    for number in only:
        broken = BROKEN[number - 1]
        with tempfile.TemporaryDirectory() as folder:
            seen = examined(Path(folder), edits=broken.edits, plan=broken.plan)
        named += (is_one := is_named(broken, seen))
        said = "named" if is_one else "NOT NAMED"
        print(f"{number:2} {broken.name}: {said}, status {seen.status}, {seen.seconds:.0f} s")
        for check, says in seen.faults().items():
            print(f"     {check}: {says}")
        if not is_one:
            print(seen.said)
    print(f"{named} of {len(only)} named")
    return 0 if named == len(only) else 1


if __name__ == "__main__":
    sys.exit(main())
