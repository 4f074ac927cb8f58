"""How the command line copes with ignored interrupts, proxies, full disks and servers that refuse."""

import subprocess
import sys
from pathlib import Path

import pytest

from onceover_cli import terminal
from onceover_cli.errors import ServerRefused
from tests.support.fake_api import LOST, TASK_ID, FakeApi, problem, task
from tests.unit.cli.test_cli_commands import PATH, STATUS, Runs, serve_everything
from tests.unit.cli.test_cli_terminal import PROGRAM, environment

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Screen:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is buffered."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["dumb", "xterm"])
def test_no_terminal_obeys_what_a_model_writes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", kind)
    terminal.write("a\x1b]0;owned\x07b\u202ec\u2066d\u2069\t中\n")
    assert screen.text == "a␛]0;owned␇b\ufffdc\ufffdd\ufffd\t中\n"


@pytest.mark.parametrize("arguments", [["status", TASK_ID], ["status", TASK_ID, "-o", "json"], ["--help"]])
def test_a_full_disk_is_said_without_a_traceback(arguments: list[str], fake: FakeApi) -> None:
    fake.on("GET", PATH, task())
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments], env=environment(fake), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("value", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "ftp://127.0.0.1:9"])
def test_this_machine_is_reached_past_every_proxy(
    value: str, fake: FakeApi, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, value)
    fake.on("GET", PATH, task())
    assert run("status", TASK_ID)[0] == 0


@pytest.mark.parametrize(
    ("status", "code", "passes"),
    [
        (503, "database_unavailable", True),
        (503, "not_configured", False),
        (503, "schema_missing", False),
        (503, "no_webhook_key", False),
        (500, "internal_error", True),
        (500, "bad_configuration", False),
        (429, "too_many_requests", True),
        (520, "", True),
        (521, "", True),
        (525, "", True),
        (530, "", True),
        (501, "", False),
        (404, "not_found", False),
    ],
)
def test_what_may_pass_by_itself(status: int, code: str, passes: bool) -> None:
    assert ServerRefused(status, {"code": code}).may_pass is passes


class Enough(Exception):
    """The error with which a test ends a command's endless loop."""


def test_top_as_documents_outlives_a_server_that_is_away(
    fake: FakeApi, run: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_everything(fake)
    fake.on("GET", "/api/async-status", STATUS, problem(503, "database_unavailable"), LOST, STATUS)
    looks = iter(range(4))

    def pause(_seconds: float) -> None:
        if next(looks) == 3:
            raise Enough

    monkeypatch.setattr("time.sleep", pause)
    with pytest.raises(Enough):
        run("top", "-o", "json")
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert said.err.count("trying again") == 2
    fake.on("GET", "/api/async-status", problem(401, "unauthenticated"))
    assert run("top", "-o", "json")[:2] == (1, "")
    fake.on("GET", "/api/async-status", problem(503, "database_unavailable"))
    assert run("top", "-o", "json", "--once")[:2] == (1, "")
