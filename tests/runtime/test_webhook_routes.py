"""Tests on every route that the worker which ends a task sends the task's webhook message at once, without a sweep."""

import secrets
from collections.abc import Iterator

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, variables
from tests.support.dev_server import DevServer, eventually
from tests.support.receiver import Receiver

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def server(route: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    values = {"WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true"}
    state = tmp_path_factory.mktemp("state")
    with DevServer(state, *ENVIRONMENTS[route], *variables(values), "--cron-every", "600") as made:
        yield made


def test_an_end_is_told_without_cron(server: DevServer, route: str):
    with Receiver() as receiver, Client(server.url) as client:
        endpoint = {"name": "one", "url": f"{receiver.url}/one", "event_types": ["task.completed"]}
        answer = client.http.post("/v1/webhook_endpoints", json=endpoint)
        assert answer.is_success, answer.text
        task = client.finished(client.submit("some text")["id"])
        assert task["route"] == route
        (message,) = eventually(lambda: receiver.at("/one"), 30)
        assert task["id"] in message.body
    assert "never awaited" not in server.output
    assert "background_failed" not in server.output
