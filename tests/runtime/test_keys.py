"""Keys on the real runtime: the first one from `make key` while the server runs, and what is left of it where."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.client import Client
from tests.support.dev_server import DevServer
from tests.support.make_key import make_key

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps everything."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[DevServer]:
    """The Worker, asking for keys."""
    with DevServer(state, "--var", "REQUIRE_KEYS:true") as started:
        yield started


def get(server: DevServer, path: str, *authorization: str) -> httpx.Response:
    """Send a GET with these Authorization headers."""
    return httpx.get(server.url + path, headers=[("Authorization", value) for value in authorization], timeout=20)


def test_from_no_key_to_a_revoked_one(server: DevServer, state: Path) -> None:
    """503 until `make key` has run, beside the running server; then its key works, makes another, and revokes it at
    once; no secret stands in any file of the state or in any line of the log."""
    assert get(server, "/api/async-status").status_code == 200
    unconfigured = get(server, "/api/tasks", "Bearer oo_x")
    assert (unconfigured.status_code, unconfigured.json()["code"]) == (503, "not_configured")

    admin = make_key(state, "--label", "first key's", "--expires-days", "30")
    refused = get(server, "/api/tasks")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    for authorization in (f"Bearer {admin[:-1]}", f"Basic {admin}", "Bearer"):
        assert get(server, "/api/tasks", authorization).content == refused.content
    assert get(server, "/api/tasks", f"Bearer {admin}", f"Bearer {admin}").status_code == 401
    assert get(server, "/api/tasks", f"bearer {admin}").json()["tasks"] == []

    with Client(server.url) as client:
        client.http.headers["Authorization"] = f"Bearer {admin}"
        assert client.finished(client.submit("some text")["id"])["status"] == "completed"
        made = client.http.post("/api/keys", json={"scopes": ["read"], "label": "reader"}).json()
        listed = client.http.get("/api/keys").json()["keys"]
        assert [item["label"] for item in listed] == ["first key's", "reader"]
        reader = f"Bearer {made['key']}"
        assert get(server, "/api/tasks", reader).status_code == 200
        forbidden = httpx.post(f"{server.url}/api/tasks", headers={"Authorization": reader}, json={"input": "x"})
        assert forbidden.status_code == 403
        assert forbidden.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="write"'
        assert client.http.delete(f"/api/keys/{made['id']}").status_code == 204
        assert get(server, "/api/tasks", reader).status_code == 401

    secrets = [key.split("_", 2)[2].encode() for key in (admin, made["key"])]
    files = [path for path in state.rglob("*") if path.is_file()]
    assert any(made["id"].encode() in path.read_bytes() for path in files)
    for secret in secrets:
        assert not [path for path in files if secret in path.read_bytes()]
        assert secret.decode() not in server.output
    assert '"event":"key_deleted"' in server.output


def test_a_key_for_another_tenant(server: DevServer, state: Path) -> None:
    """`--tenant` and `--scopes` say what the key is: an admin of one tenant does not see another's keys."""
    key = make_key(state, "--tenant", "team-7", "--scopes", "admin")
    assert [item["scopes"] for item in get(server, "/api/keys", f"Bearer {key}").json()["keys"]] == [["admin"]]
    assert get(server, "/api/tasks", f"Bearer {key}").status_code == 403


def test_a_key_made_before_the_server_ever_ran(tmp_path: Path) -> None:
    """`make key` creates the database with its tables, `make dev` finds it there, and is open unless told otherwise."""
    key = make_key(tmp_path)
    with DevServer(tmp_path, "--env", "direct", "--var", "REQUIRE_KEYS:true") as server:
        assert not any("Applied migration" in line for line in server.lines)
        assert get(server, "/api/tasks", f"Bearer {key}").status_code == 200
        assert get(server, "/api/tasks").status_code == 401
        server.stop()
    with DevServer(tmp_path) as server:
        assert get(server, "/api/tasks").status_code == 200
