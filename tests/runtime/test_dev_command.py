"""Tests the command line of `make dev`: its errors, its start and its end."""

import os
import re
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local.node import wrangler
from tests.support.client import Json
from tests.support.dev_server import DevServer, ServerEnded, eventually, run_dev
from tests.support.loopback import reserved_port
from tests.support.programs import output_of
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_tiny_worker(tmp_path / "project")
    return tmp_path / "project"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "http"], "--port: must be a number from 0"),
        (["--port", "65536"], "--port: must be a number from 0"),
        (["--port"], "--port: expected one argument"),
        (["--env", "fre"], "unknown --env fre; there are direct, free (leave it out for the top level)"),
        (["--var", "AI_MODEL"], "--var: must be KEY:VALUE, and 'AI_MODEL' has no colon"),
        (["--var", "AI MODEL:x"], "'AI MODEL' is not a variable's name"),
        (["--prot", "1"], "unknown flag --prot; did you mean --port?"),
        (["--persist", "x"], "unknown flag --persist; did you mean --persist-to?"),
        (["--remote"], "unknown flag --remote"),
        (["serve"], "unexpected argument serve"),
        (["--cron-every", "0"], "--cron-every: must be a number of seconds from 0.01"),
        (["--cron-every", "nan"], "--cron-every: must be a number of seconds from 0.01"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: list[str], says: str) -> None:
    status, lines = run_dev(*arguments)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param(
            *("GREETING = (\n", [r"src/greeting\.py.*line 1", "SyntaxError"]), marks=pytest.mark.campaign, id="syntax"
        ),
        ("import no_such_module\n", [r"src/greeting\.py.*line 1", "no_such_module"]),
    ],
)
def test_code_that_cannot_start_ends_the_command(project: Path, tmp_path: Path, source: str, says: list[str]) -> None:
    (project / "src" / "greeting.py").write_text(source)
    server = DevServer(tmp_path / "state", project=project)
    try:
        with pytest.raises(ServerEnded) as raised:
            server.start()
        assert server.wait(60) == 1
    finally:
        server.__exit__(None, None, None)
    for pattern in says:
        assert re.search(pattern, str(raised.value)), server.lines
    assert not any(line.startswith("Ready on") for line in server.lines)


@dataclass(frozen=True, slots=True)
class WholeLife:
    """What was seen of a server from its start to Ctrl-C.

    While it started, clients connected and left at once. `status` is the HTTP status of its first answer, `elsewhere`
    says whether another address than 127.0.0.1 answered, and `members` counts its processes. Ctrl-C gave `exit_status`,
    `left` processes were still there, and `last` are the lines that it printed then.
    """

    project: Path
    state: Path
    status: int
    elsewhere: bool
    members: int
    exit_status: int
    left: list[int]
    last: list[str]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> WholeLife:
    folder, port = tmp_path_factory.mktemp("life"), reserved_port()
    write_tiny_worker(folder / "project")
    server = DevServer(folder / "state", port=port, project=folder / "project")
    server.launch()
    try:
        for _ in range(20):
            eventually(lambda: reset_after_asking(port), seconds=60)
        server.wait_for_line("^Ready on", 60)
        status = httpx.get(f"http://127.0.0.1:{port}/status", timeout=20).status_code
        elsewhere, members, printed = answers("127.0.0.2", port), len(server.group_members()), len(server.lines)
        exit_status = server.stop()
        left = server.group_members()
        last = server.lines[printed:]
        return WholeLife(folder / "project", folder / "state", status, elsewhere, members, exit_status, left, last)
    finally:
        server.__exit__(None, None, None)


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_only_the_loopback_address_answers(life: WholeLife) -> None:
    assert (life.status, life.elsewhere) == (200, False)


def test_ctrl_c_leaves_no_process_behind(life: WholeLife) -> None:
    assert life.members >= 3  # Python, Node.js and workerd.
    assert (life.exit_status, life.left) == (0, [])
    assert life.last == [f"Stopped. The state stays in {life.state}, and the next start continues from there."]


def test_wrangler_sees_the_same_migrations(life: WholeLife) -> None:
    """The local runtime records applied migrations where and how wrangler does, so wrangler lists none to apply."""
    command = wrangler("d1", "migrations", "list", "DB", "--local", "--env=", "--persist-to", str(life.state))
    assert "No migrations to apply" in output_of(command, cwd=life.project)


def test_the_death_of_node_ends_the_command_and_workerd(project: Path, tmp_path: Path) -> None:
    with DevServer(tmp_path / "state", project=project) as server:
        os.kill(node_of(server), signal.SIGKILL)
        assert server.wait(60) == signal.SIGKILL
        assert server.lines[-1] == "error: the runtime was killed by signal 9"
        assert eventually(lambda: server.group_members() == [])


def node_of(server: DevServer) -> int:
    (node,) = (pid for pid in server.group_members() if b"host.mjs" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return node


def notes(server: DevServer, path: str = "notes") -> Json:
    answer: Json = httpx.get(f"{server.url}/{path}", timeout=20).json()
    return answer


def bindings(server: DevServer) -> list[str]:
    found: list[str] = httpx.get(f"{server.url}/facts", timeout=20).json()["bindings"]
    return found


def test_a_state_has_one_server_and_survives_sigkill(project: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with DevServer(state, "--env", "bare", project=project) as first:
        status, lines = run_dev("--port", "0", "--persist-to", str(state), project=project)
        who = f"another `make dev` (process {first.process.pid}) serves {first.url}"
        assert lines == [f"error: --persist-to: {who} from {state}; stop it, or choose another folder"]
        assert status == 2
        assert notes(first, "note") == {"notes": 1, "total": None, "built": 0}
        assert bindings(first) == ["DB"]
        node = node_of(first)
        os.kill(node, signal.SIGSTOP)  # In this test, the stopped runtime is still there after `make dev` has ended.
        first.process.kill()
        first.process.wait(60)
        second = DevServer(state, "--env", "objects", project=project)
        try:
            second.launch()
            eventually(second.group_members)
            os.kill(node, signal.SIGCONT)
            second.url = second.wait_for_line("^Ready on", 60).removeprefix("Ready on ")
            assert first.group_members() == []
            assert notes(second) == {"notes": 1, "total": 1, "built": 1}
            second.kill()
        finally:
            second.__exit__(None, None, None)
    with DevServer(state, project=project) as third:
        assert notes(third) == {"notes": 1, "total": 2, "built": 1}
        assert bindings(third) == ["DB", "JOBS", "COUNTER"]


def reset_after_asking(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(f"GET /status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    except OSError:
        return False
    return True
