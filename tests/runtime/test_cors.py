"""Tests the headers of CORS, HEAD and OPTIONS on the real runtime, as a client receives them over a socket."""

from collections.abc import Iterator

import pytest

from tests.support.client import Client, variables
from tests.support.dev_server import DevServer

pytestmark = pytest.mark.runtime
LISTED = "https://app.example.com"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    flags = variables({"CORS_ORIGINS": LISTED})
    with DevServer(tmp_path_factory.mktemp("state"), *flags) as server, Client(server.url) as made:
        yield made


def test_a_preflight_and_the_request_after_it(client: Client):
    asked = {"origin": LISTED, "access-control-request-method": "POST"}
    preflight = client.http.options("/api/tasks", headers=asked)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in preflight.headers["access-control-allow-headers"]
    submitted = client.http.post("/api/tasks", json={"input": "x"}, headers={"origin": LISTED})
    assert submitted.status_code == 202
    assert "Location" in submitted.headers["access-control-expose-headers"]
    refused = client.http.post("/api/tasks", json={}, headers={"origin": LISTED})
    assert refused.status_code == 422
    assert refused.headers["access-control-allow-origin"] == LISTED
    for answer in (refused, client.http.get("/api/async-status")):
        assert answer.headers["vary"] == "Origin"
