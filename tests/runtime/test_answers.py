"""The HTTP API on the real runtime: hostile bodies, variables with bad values, and texts that must not be logged."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.support.client import Client, openai, variables
from tests.support.dev_server import DevServer
from tests.support.doors_by_variable import doors
from tests.support.model_plan import Plan, status
from tests.support.model_server import ModelServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
CANARY = "canary-7b1e"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    flags = variables({"MAX_INPUT_BYTES": 1000})
    with DevServer(tmp_path_factory.mktemp("state"), *flags) as server, Client(server.url) as client:
        yield client


def stored(client: Client) -> int:
    """Return how many tasks are stored, by a new connection: one with an unread body is closed."""
    with Client(str(client.http.base_url)) as own:
        return len(own.http.get("/api/tasks", params={"limit": 100}).json()["tasks"])


BROKEN = {
    "shorter than its Content-Length": b'Content-Length: 100\r\n\r\n{"input": ',
    "chunks without a size": b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_body_is_the_clients_mistake(small: Client, rest: bytes) -> None:
    before, url = stored(small), small.http.base_url
    assert url.port
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        head = f"POST /api/tasks HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n"
        connection.sendall(head.encode() + rest)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert answer.split()[1] == b"400", answer
    assert stored(small) == before


HOSTILE = {
    "not JSON": (b"{", 400),
    "not UTF-8": (b'{"input": "\xff"}', 400),
    "nested a million deep": (b"[" * 250_000 + b"]" * 50_000, 400),
    "a lone surrogate": (b'{"input": "\\ud800"}', 422),
    "one byte too long": (b'{"input": "' + b"x" * 1001 + b'"}', 413),
    "a body beyond the cap": (b'{"input": "' + b"x" * 400_000 + b'"}', 413),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_body_is_refused_and_nothing_stored(small: Client, case: str):
    body, expected = HOSTILE[case]
    answer = small.http.post("/api/tasks", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == expected, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], sorted(problem)) == (expected, sorted({*problem, "type", "title", "detail", "code"}))
    assert stored(small) == 0


def test_a_body_without_a_length_is_capped_while_it_is_read(small: Client):
    def endless() -> Iterator[bytes]:
        yield b'{"input": "'
        for _ in range(400):
            yield b"x" * 65_536

    try:
        answer = small.http.post("/api/tasks", content=endless(), headers={"content-type": "application/json"})
    except httpx.WriteError:
        pass  # If the server closes the connection early, this also counts as a refusal.
    else:
        assert answer.status_code == 413
    assert stored(small) == 0


# The Worker of this test gets bad variables after its start, as in a deployment, because `make dev` refuses to start
# with bad variables.
BAD_VARIABLES = doors(variables={"MAX_ATTEMPTS": "none", "CORS_ORIGINS": "*"})


def test_a_deployment_names_its_bad_variables(tmp_path):
    project = write_wired_worker(tmp_path / "project")
    with DevServer(tmp_path / "state", *BAD_VARIABLES, project=project) as server, Client(server.url) as client:
        get, head = client.http.get("/openapi.json"), client.http.head("/openapi.json")
        assert (get.status_code, get.json()["code"]) == (500, "bad_configuration")
        assert get.json()["detail"].startswith(
            "MAX_ATTEMPTS must be a whole number from 1 to 20. CORS_ORIGINS must be web"
        )
        assert (head.status_code, head.content) == (500, b"")
        assert "content-length" not in head.headers


def test_neither_text_nor_key_is_in_the_log(tmp_path):
    with ModelServer(api_key="test-key", output_chars=lambda text: 60) as model:
        model.plan = Plan(decide=lambda call: status(401) if "fail" in call.user else None)
        flags = openai(model.base_url)
        with DevServer(tmp_path, *flags) as server, Client(server.url) as client:
            for text in (f"{CANARY} works", f"{CANARY} fail"):
                task = client.submit(text, instructions=f"{CANARY} do", metadata={"note": CANARY})
                client.finished(task["id"])
            client.http.post("/api/tasks", json={"input": CANARY, CANARY: 1})
            assert len(model.calls()) == 2
            server.wait_for_line('"event":"run_ended"')
            assert CANARY not in server.output
            assert "test-key" not in server.output
            assert "analysis of" not in server.output
