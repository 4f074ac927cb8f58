"""Tests that the commands in the documents run as they are written, and that the README shows the real output."""

import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import shell_blocks
from tests.support.client import Client
from tests.support.dev_server import DevServer
from tests.support.shell_blocks import LOCAL_URL, ROOT, blocks, commands, documents

pytestmark = pytest.mark.runtime
README = ROOT / "README.md"
ALL = {str(path.relative_to(ROOT)): path for path in documents()}


class MakeDev(DevServer):
    """A local server that `make dev` starts, as the documents say."""

    def __init__(self, persist_to: Path, *arguments: str) -> None:
        super().__init__(persist_to, *arguments)
        flags = shlex.join(self.command[self.command.index("--port") :])
        without = [part for name in shell_blocks.OF_THE_OUTER_MAKE for part in ("-u", name)]
        self.command = ["env", *without, "make", "dev", f"ARGS={flags}"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[DevServer]:
    with MakeDev(state) as server:
        yield server


def test_the_first_two_commands_and_their_output(server: DevServer):
    served, run, *_ = blocks(README)
    assert served == "make dev\n"
    for name, shown in zip(("english.txt", "chinese.txt"), blocks(README, "markdown"), strict=True):
        done = shell_blocks.run(f"export ONCEOVER_URL={server.url}\n{run.replace('english.txt', name)}")
        assert done.returncode == 0, done.stderr
        _appear_in_order(shown, done.stdout)


def _appear_in_order(shown: str, output: str) -> None:
    first, *others = shown.rstrip().split("\n…\n")
    assert output.startswith(first)
    place = len(first)
    for part in others:
        place = output.index(part, place) + len(part)


def _agree(shown: Any, real: Any) -> None:
    if shown == "…":
        return
    if isinstance(shown, dict):
        for name, value in shown.items():
            if name not in {"id", "…"}:
                _agree(value, real[name])
    elif isinstance(shown, list):
        for one, other in zip(shown, real, strict="…" not in shown):
            _agree(one, other)
    elif isinstance(shown, str) and shown.endswith("…"):
        assert real.startswith(shown.removesuffix("…"))
    else:
        assert shown == real


def test_the_example_of_the_api_page(server: DevServer):
    """The commands in docs/api.md return the page's task; a number as input its problem."""
    task, problem = (json.loads(shown) for shown in blocks(ALL["docs/api.md"], "json"))
    done = shell_blocks.run(blocks(ALL["docs/api.md"])[0].replace(LOCAL_URL, server.url))
    assert done.returncode == 0, done.stderr
    _agree(task, json.loads(done.stdout))
    with Client(server.url) as client:
        _agree(problem, client.http.post("/api/tasks", json={"input": 1}).json())


# The commands in the simulator's README are long simulations.
LONG = "simulator/README.md"
# test_structured_output.py runs the commands of this page and compares what they print.
ELSEWHERE = "docs/structured-output.md"
WITH_COMMANDS = [name for name, path in ALL.items() if blocks(path) and name not in {LONG, ELSEWHERE}]


class Reader:
    """Runs the commands of one document in order, like a reader who has started `make dev`."""

    def __init__(self, server: DevServer, state: Path, own: Path) -> None:
        self._url, self._state, self._own = server.url, state, own
        self._made: set[str] = set()
        self._servers = contextlib.ExitStack()

    def here(self, command: str) -> str | None:
        """Return a command as the test runs it, or None. Of like targets of make the first runs."""
        if arguments := shell_blocks.dev_arguments(command):
            self._servers.close()
            self._state = self._own
            self._url = self._servers.enter_context(MakeDev(self._state, *shlex.split(arguments))).url
            return None
        if arguments is not None or shell_blocks.not_run(command) is not None:
            return None
        tried = shell_blocks.trial(command, self._url, self._state)
        if tried in self._made:
            return None
        if shell_blocks.target(command):
            self._made.add(tried)
        # A server with arguments of its own has no model, so a task does not end however long a client waits.
        return tried.replace("?wait=25", "?wait=1") if self._state == self._own else tried

    def leave(self) -> None:
        self._servers.close()


@pytest.fixture
def reader(server: DevServer, state: Path, tmp_path: Path) -> Iterator[Reader]:
    made = Reader(server, state, tmp_path)
    yield made
    made.leave()


@pytest.mark.parametrize("name", [*WITH_COMMANDS, pytest.param(LONG, marks=pytest.mark.campaign)])
def test_the_commands_of_a_document_run(name: str, reader: Reader):
    for block in blocks(ALL[name]):
        here = [tried for command in commands(block) if (tried := reader.here(command))]
        done = shell_blocks.run("\n".join(here))
        assert done.returncode == 0, f"{name}:\n{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert all(status.startswith("2") for status in re.findall(r"^HTTP/1\.1 (\d+)", done.stdout, re.MULTILINE))
        assert "urn:onceover:problem:" not in done.stdout, done.stdout


@pytest.mark.parametrize("command", [command for command in shell_blocks.listed_commands() if command != "make dev"])
def test_the_targets_run(command: str, server: DevServer, state: Path):
    if shell_blocks.not_run(command) is None:
        target = shell_blocks.target(command)
        if page := shell_blocks.RUN_BY_PAGES.get(target or ""):
            assert any(re.search(rf"^[^#\n]*make (-s )?{target}\b", block, re.MULTILINE) for block in blocks(ALL[page]))
            done = shell_blocks.run(shell_blocks.looked_up(command))
        else:
            done = shell_blocks.run(shell_blocks.trial(command, server.url, state))
        assert done.returncode == 0, done.stdout + done.stderr
