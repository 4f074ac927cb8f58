"""Tests API keys on the real runtime: `make key` makes the first key, and secrets are stored nowhere."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from src.kernel.domain import limits
from tests.support.client import Client
from tests.support.databases import d1_file
from tests.support.dev_server import DevServer, eventually
from tests.support.doors_by_variable import doors
from tests.support.make_key import insert_key, make_key
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[DevServer]:
    with DevServer(state, "--var", "REQUIRE_KEYS:true") as started:
        yield started


def get(server: DevServer, path: str, *authorization: str) -> httpx.Response:
    headers = [("X-Request-Id", "one"), *(("Authorization", value) for value in authorization)]
    return httpx.get(server.url + path, headers=headers, timeout=20)


def test_from_no_key_to_a_revoked_one(server: DevServer, state: Path) -> None:
    assert get(server, "/api/async-status").status_code == 200
    unconfigured = get(server, "/api/tasks", "Bearer oo_x")
    assert (unconfigured.status_code, unconfigured.json()["code"]) == (503, "not_configured")

    admin = make_key(state, "--label", "first key's", "--expires-in", "30d")
    assert get(server, "/api/tasks", f"Bearer {admin}").status_code == 200
    # The server's isolate remembers for `REFUSED_CACHE_SECONDS` that it refused a request, and why.
    eventually(lambda: get(server, "/api/tasks").status_code == 401, limits.REFUSED_CACHE_SECONDS + 10)
    refused = get(server, "/api/tasks")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    for authorization in (f"Bearer {admin[:-1]}", f"Basic {admin}", "Bearer"):
        assert get(server, "/api/tasks", authorization).content == refused.content
    assert get(server, "/api/tasks", f"Bearer {admin}", f"Bearer {admin}").status_code == 401
    assert get(server, "/api/tasks", f"bearer {admin}").json()["tasks"] == []

    with Client(server.url, admin) as client:
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

    # The last characters of the secrets are left out, because some requests sent a key that was cut short.
    secrets = [key.split("_", 2)[2][:-2] for key in (admin, made["key"])]
    assert b"first key's" in everything(state)
    assert not [secret for secret in secrets if secret.encode() in everything(state)]
    assert not [secret for secret in secrets if secret.encode("utf-16-le") in everything(state)]
    server.wait_for_line('"event":"key_deleted"')
    assert not [secret for secret in secrets if secret in server.output]


def everything(state: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(state.rglob("*")) if path.is_file())


def test_a_revocation_reaches_another_isolate(tmp_path: Path) -> None:
    """A revoked key is refused at once by the isolate that revoked it, and by another isolate when it no longer
    remembers the key.

    In this test two runtimes share one database, and an isolate remembers keys for a few seconds instead of 60. If each
    use renewed the memory, it would never end. `tests/unit/kernel/api/access/test_keys.py` tests the time exactly.

    The first key was made before the first start: `make key` has created the database with its tables, and `make dev`
    accepts the key. With `--tenant` and `--scopes` the key is another tenant's, and sees only its tenant's keys.
    """
    project, shared = write_wired_worker(tmp_path / "project"), tmp_path / "state"
    admin = f"Bearer {make_key(shared, '--tenant', 'team-7', '--scopes', 'read,admin')}"
    insert_key(shared)  # a key of the tenant `local`
    flags = ("--env", "direct", "--var", "REQUIRE_KEYS:true", *doors(key_seconds=5.0))
    # The second server has its own state folder, because a state folder has only one server. It shares the database.
    database = d1_file(shared).parent.relative_to(shared)
    (other := tmp_path / "other" / database).parent.mkdir(parents=True)
    other.symlink_to(shared / database, target_is_directory=True)
    with (
        DevServer(shared, *flags, project=project) as here,
        DevServer(tmp_path / "other", *flags, project=project) as there,
    ):
        assert not any("Applied migration" in line for line in here.lines)
        assert [item["scopes"] for item in get(here, "/api/keys", admin).json()["keys"]] == [["read", "admin"]]
        assert get(here, "/api/tasks").status_code == 401
        unwritten = httpx.post(f"{here.url}/api/tasks", headers={"Authorization": admin}, json={"input": "x"})
        assert unwritten.status_code == 403

        made = httpx.post(
            f"{here.url}/api/keys", headers={"Authorization": admin}, json={"scopes": ["read"]}, timeout=20
        ).json()
        reader = f"Bearer {made['key']}"
        assert get(here, "/api/tasks", reader).status_code == get(there, "/api/tasks", admin).status_code == 200
        assert get(there, "/api/tasks", reader).status_code == 200
        revoked = httpx.delete(f"{here.url}/api/keys/{made['id']}", headers={"Authorization": admin}, timeout=20)
        assert revoked.status_code == 204
        assert get(here, "/api/tasks", reader).status_code == 401
        # The statuses of the requests with the revoked key to the second server, until it refuses the key.
        statuses: list[int] = []

        def refused() -> bool:
            statuses.append(get(there, "/api/tasks", reader).status_code)
            return statuses[-1] != 200

        eventually(refused, pause=0.2)
        # The second server must have accepted at least one request from memory; otherwise the test would prove nothing.
        assert (statuses[-1], len(statuses) > 1) == (401, True)
