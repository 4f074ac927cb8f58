"""Local commands: `make model`, wrangler's own server, the page's libraries, and lines of `.dev.vars`."""

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import install, model, model_server, page_libraries, wrangler_dev
from local.arguments import parse
from local.configuration import LocalConfiguration, examine
from local.dev_vars import SecretsFile, find
from local.node import ROOT
from src.kernel.domain.settings import load
from tests.support.fake_api import FakeApi, failed, problem, task


def variables(command: str) -> dict[str, str]:
    make, dev, arguments = shlex.split(command)
    assert (make, dev) == ("make", "dev")
    return parse(shlex.split(arguments.removeprefix("ARGS=")), ROOT).variables


@pytest.mark.parametrize(("context", "slots"), [(model.CONTEXT_TOKENS, model.SLOTS), (1024, 1), (8192, 12)])
def test_a_chunk_of_any_language_fits_the_context(context: int, slots: int) -> None:
    found = variables(model_server.dev_command("http://127.0.0.1:9", context, slots))
    assert found["AI_BASE_URL"] == "http://127.0.0.1:9/v1"
    chunk, output = int(found["CHUNK_MAX_CHARS"]), int(found["AI_MAX_OUTPUT_TOKENS"])
    # By the model's own tokenizer, the densest 1,000 characters of examples/chinese.txt are 1,805 tokens. The default
    # instructions are 40 tokens.
    assert 1.81 * chunk + 100 + output < context
    settings = load(found.get)
    assert settings.chunk_chars == chunk
    assert settings.concurrency == min(slots, 6)


def test_the_page_has_the_files_of_the_installed_packages(tmp_path: Path) -> None:
    folder = tmp_path / "public" / "vendor" / "markdown"
    folder.mkdir(parents=True)
    (folder / "old.js").touch()
    page_libraries.copy(folder)
    assert {path.name for path in folder.iterdir()} == set(page_libraries.FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["markdown"]
    for name, (package, file) in page_libraries.FILES.items():
        copied = (folder / name).read_text("utf-8")
        assert "sourceMappingURL" not in copied
        assert (ROOT / "node_modules" / package / file).read_text("utf-8").startswith(copied.rstrip("\n"))
        assert (ROOT / "public" / "vendor" / "markdown" / name).read_text("utf-8") == copied


def test_what_the_page_needs_is_installed_for_running() -> None:
    packages = json.loads(install.NPM_LOCK.read_text("utf-8"))["packages"]
    for package, _ in page_libraries.FILES.values():
        assert not packages[f"node_modules/{package}"].keys() & {"dev", "optional"}
    for parts in (install.RUN, install.DEV):
        folders = [part.folder for part in parts]
        assert folders.index(page_libraries.FOLDER) > folders.index(page_libraries.MODULES)
        assert parts[folders.index(page_libraries.FOLDER)].lock == install.NPM_LOCK


@pytest.mark.parametrize(
    ("text", "names", "faults"),
    [
        ("A=1\nexport B = 2\nC: 3\nD=\n", {"A", "B", "C", "D"}, []),
        ("# A=1\n  # note\n\nA=1 # note\n", {"A"}, []),
        ("A='one\ntwo'\nB=\"x # y\"\n", {"A", "B"}, []),
        ("A\nB=1\n", {"B"}, [1]),
        ("A B=1\n", set(), [1]),
        ("A='one\ntwo\nB=1", {"A", "B"}, [1, 2]),
        ("A=1\r\nB\r\n", {"A"}, [2]),
        ("A='", {"A"}, [1]),
    ],
)
def test_lines_that_set_nothing_are_named_by_number(text: str, names: set[str], faults: list[int]) -> None:
    file = SecretsFile(".dev.vars", text.replace("\r\n", "\n"))
    assert file.names == names
    assert [int(fault.split()[1]) for fault in file.faults()] == faults


def test_the_file_is_the_one_that_wrangler_reads(tmp_path: Path) -> None:
    assert find(tmp_path, "free") is None
    for name in (".env", ".dev.vars", ".dev.vars.free"):
        (tmp_path / name).write_text("A=1\r\nB=2\r\n")
        found = find(tmp_path, "free")
        assert found is not None
        assert (found.name, found.text, found.is_shared) == (name, "A=1\nB=2\n", name == ".env")
    other = find(tmp_path, None)
    assert other is not None
    assert other.name == ".dev.vars"


def test_a_value_is_never_repeated() -> None:
    value = "two words, maybe a secret"
    file = SecretsFile(".dev.vars", f"AI_API_KEY={value}\n{value}\n")
    variables: dict[str, object] = {"AI_API_KEY": value, "AI_API_KEYS": value}
    found = examine(LocalConfiguration(variables, {}, ["DB", "AI_QUEUE"], "off", "/state"), file)
    assert (len(found.faults), len(found.warnings)) == (2, 1)
    assert value not in " ".join((*found.faults, *found.warnings))


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_task_that_fails(wrangler: StandIn, api: FakeApi) -> None:
    api.on("POST", "/api/tasks", failed("model_refused"))
    with pytest.raises(wrangler_dev.NotDone, match="ended with status 2"):
        wrangler_dev.try_out("free", wrangler)
    assert settle(wrangler) == []


@pytest.mark.slow
@pytest.mark.parametrize(("command", "said"), [("d1", "migrations could not be applied"), ("dev", "with status 7")])
def test_a_wrangler_that_ends(command: str, said: str, wrangler: StandIn, api: FakeApi) -> None:
    api.on("GET", "/api/async-status", problem(503, "database_unavailable"))
    wrangler.ends = command
    with pytest.raises(wrangler_dev.NotDone, match=said):
        wrangler_dev.try_out("free", wrangler)
    assert settle(wrangler) == []
