"""`onceover verify` finds sound deployments sound, names the fault of broken ones, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from onceover_cli.connection import ApiClient, place
from onceover_cli.verify import checks, trial
from onceover_cli.verify.findings import Grade
from tests.support.client import openai
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.loopback import Loopback, Quiet
from tests.support.model_plan import Plan, ok
from tests.support.model_server import ModelServer
from tests.support.worker_copy import copy_worker

pytestmark = pytest.mark.runtime
HOOKS = {"WEBHOOK_KEY": "k" * 32, "WEBHOOK_LOOPBACK": "true"}
# In the local runtime's three environments, and what a fast model does not let be seen is seen with this one.
SECONDS = 3.0
SUMMARY = '{"summary": "a part"}'


def receiver_url() -> str:
    """Return an address of this machine at which nothing listens."""
    with Loopback(Quiet) as taken:
        return f"{taken.url}/hook"


def verify(url: str, *flags: str) -> list[str]:
    """Return the command that examines a deployment."""
    return [sys.executable, "-m", "onceover_cli", "verify", "--url", url, *flags]


def left(url: str) -> list[Any]:
    """Return what a deployment has stored of tasks, files and endpoints."""
    lists = (("/api/tasks", "tasks"), ("/v1/files", "data"), ("/v1/webhook_endpoints", "data"))
    return [one for path, name in lists for one in httpx.get(url + path).json()[name]]


@pytest.mark.parametrize("env", ["", "free", "direct"])
def test_a_sound_deployment_is_sound(tmp_path: Path, env: str):
    """In each environment no check finds a fault, every check runs, and nothing is left behind."""
    with ModelServer(latency_seconds=SECONDS, plan=Plan(decide=lambda _: ok(SUMMARY))) as model:
        flags = (*openai(model.base_url, **HOOKS), *(("--env", env) if env else ()))
        with DevServer(tmp_path / "state", *flags, "--cron-every", "5") as server:
            command = verify(server.url, "--report", str(tmp_path / "report"), "--receiver", receiver_url())
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
            assert done.returncode == 0, done.stderr
            report = json.loads((tmp_path / "report.json").read_text())
            verdicts = {one["check"]: one["verdict"] for one in report["checks"]}
            assert set(verdicts.values()) == {"sound"}, done.stderr
            routes = {"": {"queue", "durable-object"}, "free": {"durable-object"}}
            assert {name for name in verdicts if name.startswith("route")} == {
                f"route {route}" for route in routes.get(env, {"direct"})
            }
            assert 0 < report["model calls"] <= 60
            assert len(model.calls()) <= 60
            assert left(server.url) == []
            assert "k" * 32 not in (tmp_path / "report.md").read_text()


def test_what_a_killed_run_left_is_removed_by_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that begins over ten minutes later removes what a killed one left, and an earlier one does not."""
    with ModelServer(latency_seconds=SECONDS) as model, DevServer(tmp_path, *openai(model.base_url)) as server:
        running = subprocess.Popen(verify(server.url), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: left(server.url))
        running.send_signal(signal.SIGKILL)
        running.wait(60)
        with ApiClient(place(server.url, None)) as api:
            later = trial.Trial(api, 0)
            assert later.clean(earlier=True) == 0
            monkeypatch.setattr(trial, "SECONDS_MOST", 0.0)
            time.sleep(1)
            assert later.clean(earlier=True) > 0
        assert left(server.url) == []


class Broken(NamedTuple):
    """A broken deployment: what is wrong, the check that finds it, and what is changed in which files of the Worker."""

    name: str
    check: str
    edits: tuple[tuple[str, str, str], ...]


def behind(name: str, check: str, code: str, *edits: tuple[str, str, str]) -> Broken:
    """Return a deployment with further code in its main module."""
    adapt = "EVENT_LOOP.adapt()\n"
    return Broken(name, check, (("src/entry.py", adapt, f"{adapt}{code}\n"), *edits))


CONSUMER = """[[queues.consumers]]
queue = "ai-processing-queue"
max_batch_size = 1
max_batch_timeout = 30
max_retries = 2
dead_letter_queue = "ai-processing-dlq"
"""
BROKEN = (
    Broken("no consumer", "route queue", (("wrangler.toml", CONSUMER, ""),)),
    Broken("no cron trigger", "cron", (("wrangler.toml", '[triggers]\ncrons = ["* * * * *"]\n', ""),)),
    behind(
        "a queue that drops",
        "route queue",
        "async def _drop(self, *_): pass\nimport src.queue.producer as p\np.QueueSender.send = _drop",
    ),
    behind(
        "alarms that never come", "route durable-object", "async def _never(self, *_): pass\nAIProcessor.alarm = _never"
    ),
    behind(
        "an RPC that fails",
        "route durable-object",
        "async def _fail(self, *_): raise RuntimeError('NoGilError')\nAIProcessor.start = _fail",
    ),
    behind(
        "a bucket that other files are in",
        "files",
        "import src.features.files.blobs.r2 as r2\nr2.R2Bucket.open = lambda self, file, name, size: "
        "self._binding_of_another(file)",
    ),
    behind(
        "timers that never fire",
        "streams and timers",
        "import asyncio\nimport src.kernel.api.follow.listening as l\n"
        "async def _never(self, *_): await asyncio.get_running_loop().create_future()\nl.Listener.rest = _never",
    ),
    behind(
        "a stream that is buffered",
        "streams and timers",
        "import src.platform.worker_entrypoint as w\nfrom dataclasses import replace\n_handle = w.handle\n"
        "async def _whole(*given):\n"
        "    reply = await _handle(*given)\n"
        "    if reply.parts is None: return reply\n"
        "    return replace(reply, body=''.join([part async for part in reply.parts]), parts=None)\n"
        "w.handle = _whole",
    ),
    behind(
        "a webhook key that changed",
        "webhooks",
        "import src.features.webhooks.rules as r\n_signature = r.signature\n"
        "r.signature = lambda secret, *told: _signature(r.SECRET_PREFIX + 'b3RoZXI=', *told)",
    ),
    behind(
        "keys of submissions that are ignored",
        "repetition",
        "import src.kernel.api.tasks.endpoints as e\ne.idempotency_key = lambda headers: None",
    ),
    behind(
        "a cancellation that is not written",
        "cancel",
        "import src.kernel.api.tasks.withdrawal as w\nfrom src.kernel.api.follow.wait import found\n"
        "async def _read(api, key, began): return True, await found(api.store, key)\nw.ended_by_client = _read",
    ),
    behind(
        "a budget that is not held",
        "budget",
        "import src.kernel.work.submission as s\ns.check_budget = lambda *_: None",
    ),
    behind(
        "a route that runs twice",
        "route queue",
        "import asyncio\nimport src.queue.producer as p\n_send = p.QueueSender.send\n"
        "async def _twice(self, *given): await asyncio.gather(_send(self, *given), _send(self, *given))\n"
        "p.QueueSender.send = _twice",
        ("src/kernel/store/work_statements.py", "(lease_until <= {NOW} OR", "(1 OR"),
    ),
    Broken(
        "an old schema",
        "schema",
        (("src/kernel/domain/version.py", "Final = MIGRATIONS[-1]", 'Final = "9999_newer.sql"'),),
    ),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.name)
def test_a_broken_deployment_is_named(tmp_path: Path, broken: Broken):
    project = copy_worker(tmp_path / "project")
    for file, old, new in broken.edits:
        text = (project / file).read_text()
        assert old in text
        (project / file).write_text(text.replace(old, new, 1))
    found = examined(tmp_path, broken.check, ModelServer(latency_seconds=6.0), project)
    assert found.verdict is Grade.FAULT, found
    print(f"{broken.name}: saw {found.saw}; {found.means} ({found.seconds:.0f} s)")


def examined(folder: Path, name: str, model: ModelServer, project: Path | None) -> Any:
    """Run one check, and return what it found."""
    with (
        model,
        DevServer(folder / "state", *openai(model.base_url, **HOOKS), project=project) as server,
        ApiClient(place(server.url, None)) as api,
    ):
        status = api.get("/api/async-status", {"verbose": "1"})
        (check,) = (one for one in checks.checks(status, receiver_url()) if one[0] == name)
        return checks.run(trial.Trial(api, 60), check)
