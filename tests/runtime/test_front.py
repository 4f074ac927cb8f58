"""Who may use the local server: its own host name, its pages, and pages of listed origins."""

import httpx
import pytest

from tests.support.dev_server import DevServer
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime
LISTED = ("https://app.example.com", "http://localhost:5173")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    project = tmp_path_factory.mktemp("project")
    write_tiny_worker(project)
    flags = ("--var", f"CORS_ORIGINS:{', '.join(LISTED)}")
    with DevServer(tmp_path_factory.mktemp("state"), *flags, project=project) as running:
        yield running


def served(server: DevServer) -> int:
    return httpx.get(f"{server.url}/facts").json()["served"]


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_its_own_names_are_answered(server: DevServer, host: str) -> None:
    port = httpx.URL(server.url).port
    answer = httpx.get(f"{server.url}/status", headers={"host": host.format(port=port)})
    assert (answer.status_code, answer.json()) == (200, {"greeting": "hello"})


@pytest.mark.parametrize(
    "host",
    ["rebound.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.rebound.example:{port}", "127.0.0.2:{port}"],
)
@pytest.mark.parametrize("extra", [{}, {"mf-original-url": "{url}/status"}], ids=["plain", "with another URL"])
def test_another_host_is_refused_before_anything_else(server: DevServer, host: str, extra: dict[str, str]) -> None:
    before = served(server)
    port = httpx.URL(server.url).port
    host = host.format(port=port)
    own = {name: value.format(url=server.url) for name, value in extra.items()}
    answer = httpx.post(f"{server.url}/note", headers={"host": host, "origin": f"http://{host}", **own})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_host")
    assert answer.headers["content-type"] == "application/problem+json"
    assert served(server) == before + 1


@pytest.mark.parametrize(("path", "ours"), [("/v1/responses", False), ("/v1", False), ("/v10", True)])
def test_below_v1_a_refusal_has_the_shape_of_openai(server: DevServer, path: str, ours: bool) -> None:
    answer = httpx.get(f"{server.url}{path}", headers={"host": "rebound.example", "x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (403, "mine")
    if ours:
        assert answer.json()["code"] == "foreign_host"
        return
    error = answer.json()["error"]
    assert (set(answer.json()), set(error)) == ({"error"}, {"message", "type", "param", "code"})
    assert (error["type"], error["param"], error["code"]) == ("permission_error", None, "foreign_host")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:{port}", "http://localhost:{port}", "http://[::1]:{port}", *LISTED]
)
def test_its_own_pages_and_those_of_listed_origins_are_answered(server: DevServer, origin: str) -> None:
    port = httpx.URL(server.url).port
    answer = httpx.get(f"{server.url}/status", headers={"origin": origin.format(port=port)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "https://127.0.0.1:{port}", "http://app.example.com"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_of_other_origins_are_refused(server: DevServer, origin: str, method: str) -> None:
    before = served(server)
    headers = {"origin": origin.format(port=httpx.URL(server.url).port)}
    answer = httpx.request(method, f"{server.url}/note", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in answer.headers
    assert served(server) == before + 1
