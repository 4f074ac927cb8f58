"""`python -m local.wrangler_dev` runs a task on the unmodified workerd."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import wrangler_dev
from local.node import ROOT
from tests.support.fake_api import FakeApi, failed, problem, task

pytestmark = pytest.mark.slow  # processes

# The command `dev` of wrangler's stand-in keeps running, with a child process that ignores interrupts, as workerd may.
STAND_IN = """
import json, os, signal, subprocess, sys, time

folder, ends, *arguments = sys.argv[1:]
if arguments[0] == "dev":
    child = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"]
    )
    pids = [os.getpid(), child.pid]
else:
    pids = []
with open(f"{folder}/calls", "a") as file:
    file.write(json.dumps({"arguments": arguments, "pids": pids}) + "\\n")
if arguments[0] == ends:
    sys.exit(7)
if pids:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    time.sleep(600)
"""


class StandIn:
    """A wrangler that serves nothing: `api` answers at its port. `ends`: at which command it fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ends = ""

    def __call__(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", STAND_IN, str(self.folder), self.ends, *arguments]

    def calls(self) -> list[list[str]]:
        return [call["arguments"] for call in self._read()]

    def _read(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def alive(self) -> list[int]:
        return [pid for call in self._read() for pid in call["pids"] if _state(pid) not in {"", "Z"}]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture
def wrangler(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    bound = {"hasAIQueue": False, "hasAIDLQ": False, "hasDurableObjects": True}
    with FakeApi() as fake:
        monkeypatch.setattr(wrangler_dev, "free_port", lambda: int(fake.url.rpartition(":")[2]))
        fake.on(
            "GET", "/api/async-status", problem(503, "database_unavailable"), {"status": "healthy", "queueCheck": bound}
        )
        yield fake


def settle(wrangler: StandIn) -> list[int]:
    end = time.monotonic() + 60
    while wrangler.alive() and time.monotonic() < end:
        os.sched_yield()
    return wrangler.alive()


def test_a_task_is_done(wrangler: StandIn, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.on("POST", "/api/tasks", task())
    wrangler_dev.try_out("free", wrangler)
    assert "free: a task was done" in capsys.readouterr().out
    (asked,) = api.requests("POST", "/api/tasks")
    assert asked.body["input"] == (ROOT / wrangler_dev.TEXT).read_text("utf-8")
    assert len(api.requests("GET", "/api/async-status")) == 2
    migrate, serve = wrangler.calls()
    assert tuple(migrate[: len(wrangler_dev.MIGRATE)]) == wrangler_dev.MIGRATE
    assert tuple(serve[: len(wrangler_dev.SERVE)]) == wrangler_dev.SERVE
    assert migrate[-1] == serve[-1] == "--env=free"
    assert settle(wrangler) == []


def test_a_task_that_fails(wrangler: StandIn, api: FakeApi) -> None:
    api.on("POST", "/api/tasks", failed("model_refused"))
    with pytest.raises(wrangler_dev.NotDone, match="ended with status 2"):
        wrangler_dev.try_out("free", wrangler)
    assert settle(wrangler) == []


@pytest.mark.parametrize(("command", "said"), [("d1", "migrations could not be applied"), ("dev", "with status 7")])
def test_a_wrangler_that_ends(command: str, said: str, wrangler: StandIn, api: FakeApi) -> None:
    api.on("GET", "/api/async-status", problem(503, "database_unavailable"))
    wrangler.ends = command
    with pytest.raises(wrangler_dev.NotDone, match=said):
        wrangler_dev.try_out("free", wrangler)
    assert settle(wrangler) == []
