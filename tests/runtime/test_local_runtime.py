"""Tests that the local runtime treats a Worker as production does, and prints all output to the terminal."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.dev_server import DevServer, eventually
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_worker(folder / "project")
    (folder / "project" / ".dev.vars").write_text("FROM_SECRETS=secrets\nFROM_FLAG=secrets\n")
    arguments = ("--var", "FROM_FLAG:a:b", "--cron-every", "0.1")
    with DevServer(folder / "state", *arguments, project=folder / "project") as running:
        yield running


def get(server: DevServer, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/{path}", timeout=20)


def traceback_of(server: DevServer, error: str) -> list[str]:
    server.wait_for_line(f"^{re.escape(error)}$")
    end = server.lines.index(error)
    start = max(i for i in range(end) if server.lines[i].startswith("Traceback"))
    return server.lines[start : end + 1]


def test_the_interpreter_looks_for_modules_as_production_does(server: DevServer) -> None:
    facts = get(server, "facts").json()
    assert facts["python"] == [3, 14]
    order = ["/lib/python314.zip", "/session/metadata/python_modules", "/session/metadata"]
    assert [folder for folder in facts["path"] if folder in order] == order
    assert facts["queue"].startswith("/lib/python314.zip")


def test_variables_come_from_three_places_in_order(server: DevServer) -> None:
    assert get(server, "facts").json()["variables"] == {
        "AI_PROVIDER": "demo",
        "FROM_FILE": "toml",
        "FROM_SECRETS": "secrets",
        "FROM_FLAG": "a:b",
    }


def test_prints_and_logs_are_plain_lines(server: DevServer) -> None:
    get(server, "say")
    server.wait_for_line("^logged line$")
    at = server.lines.index("printed line")
    assert [line for line in server.lines[at:] if "cron" not in line][:4] == [
        *("printed line", "one", "two", "logged line")
    ]


def test_an_exception_in_fetch_shows_its_traceback_and_is_a_500(server: DevServer) -> None:
    response = get(server, "fail")
    assert response.status_code == 500
    assert "fetch broke" not in response.text
    shown = traceback_of(server, "ValueError: fetch broke")
    assert any(re.match(r'  File "src/entry\.py", line \d+, in fail', line) for line in shown)
    assert server.lines.count("ValueError: fetch broke") == 1


def test_an_exception_in_queue_is_shown_and_the_message_comes_again(server: DevServer) -> None:
    get(server, "send")
    for attempt in (1, 2, 3):
        server.wait_for_line(f"^delivery {attempt} 1$")
    eventually(lambda: server.lines.count("RuntimeError: queue broke") == 3)
    assert any("in queue" in line for line in traceback_of(server, "RuntimeError: queue broke"))


def test_an_exception_in_an_alarm_is_shown_and_it_rings_again(server: DevServer) -> None:
    get(server, "wake")
    assert any("in alarm" in line for line in traceback_of(server, "RuntimeError: alarm broke"))
    eventually(lambda: server.lines.count("alarm rang") == 2)


def test_an_exception_in_an_object_reaches_its_caller(server: DevServer) -> None:
    assert get(server, "explode").status_code == 500
    assert any("in explode" in line for line in traceback_of(server, "KeyError: 'object broke'"))


def test_background_work_goes_on_after_the_reply(server: DevServer) -> None:
    assert get(server, "background").status_code == 200
    server.wait_for_line("^background went on$")
    traceback_of(server, "LookupError: background broke")


def test_cron_fires_at_the_interval_and_never_over_itself(server: DevServer) -> None:
    eventually(lambda: server.lines.count("cron done") >= 3)
    runs = [line for line in list(server.lines) if line.startswith("cron")]
    assert runs[:6] == ["cron * * * * *", "cron done"] * 3


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (
            "import os; GREETING = os.urandom(4).hex()\n",
            "OSError: .* Randomness is not allowed while a Worker is starting",
        ),
        pytest.param("GREETING = nowhere\n", "NameError", marks=pytest.mark.campaign),
        pytest.param('GREETING = "\n', "SyntaxError", marks=pytest.mark.campaign),
    ],
    ids=["urandom", "name", "syntax"],
)
def test_a_change_reloads_and_a_broken_one_does_not(broken: str, error: str, tmp_path: Path) -> None:
    source = write_tiny_worker(tmp_path / "project")
    greeting = source / "greeting.py"
    with DevServer(tmp_path / "state", project=tmp_path / "project") as server:
        assert get(server, "note").json() == {"notes": 1, "total": 1, "built": 1}
        served = get(server, "facts").json()["served"]

        greeting.write_text(broken)
        server.wait_for_line("^Not reloaded", 120)
        assert re.search(r'File "src/greeting\.py", line 1', server.output)
        assert re.search(error, server.output)
        assert get(server, "status").json() == {"greeting": "hello"}
        # The same interpreter answered both requests, so the failed change of the code did not end it.
        assert get(server, "facts").json()["served"] == served + 2

        seen = len(server.lines)
        greeting.write_text('GREETING = "fixed"\n')
        (tmp_path / "project" / "migrations" / "0002_more.sql").write_text("CREATE TABLE more (a INT) STRICT;")
        server.wait_for_line("^Reloaded", 120, after=seen)
        eventually(lambda: "Applied migration 0002_more.sql" in server.lines)
        eventually(lambda: get(server, "status").json() == {"greeting": "fixed"})
        assert get(server, "notes").json() == {"notes": 1, "total": 2, "built": 1}

        # What continues after another broken change is the code of the last reload.
        seen = len(server.lines)
        greeting.write_text(broken)
        server.wait_for_line("^Not reloaded", 120, after=seen)
        assert get(server, "status").json() == {"greeting": "fixed"}
        assert server.stop() == 0
        assert server.group_members() == []
