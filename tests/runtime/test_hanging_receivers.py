"""Receivers that hang delay no other tenant's task. `python -m bench.hanging_receivers` measures more."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.kernel.domain import limits
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, variables
from tests.support.dev_server import DevServer, eventually
from tests.support.hanging_receiver import HangingReceiver
from tests.support.make_key import insert_key

pytestmark = pytest.mark.runtime
CONSUMERS = 10  # of the local queue (local/runtime/queue.mjs)
TASKS, ENDPOINTS = 2 * CONSUMERS, 3


@contextmanager
def serving(state: Path, route: str) -> Iterator[DevServer]:
    values = {"REQUIRE_KEYS": "true", "WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true"}
    with DevServer(state, *ENVIRONMENTS[route], *variables(values), "--cron-every", "600") as server:
        yield server


@contextmanager
def client_of(server: DevServer, tenant: str, url: str = "", endpoints: int = 0) -> Iterator[Client]:
    with Client(server.url, insert_key(server.persist_to, tenant)) as client:
        for number in range(endpoints):
            body = {"name": "x", "url": f"{url}/{tenant}/{number}", "event_types": ["task.completed"]}
            answer = client.http.post("/v1/webhook_endpoints", json=body)
            assert answer.is_success, answer.text
        yield client


@pytest.mark.parametrize(
    "route", [pytest.param(name, marks=[] if name == "queue" else [pytest.mark.campaign]) for name in ENVIRONMENTS]
)
def test_receivers_that_hang_hold_up_nobody(route: str, tmp_path: Path) -> None:
    """Another tenant's task ends while more messages hang than there are consumers."""
    with (
        HangingReceiver() as receiver,
        serving(tmp_path, route) as server,
        client_of(server, "many", receiver.url, ENDPOINTS) as many,
        client_of(server, "one") as one,
    ):
        ids = [many.submit(f"Text {number}.")["id"] for number in range(TASKS)]
        eventually(lambda: receiver.held["many"] >= CONSUMERS)
        assert one.finished(one.submit("The other tenant's text.")["id"])["status"] == "completed"
        assert receiver.held["many"] == receiver.came["many"]  # none has been given up, so none was waited for
        assert {many.finished(id_)["status"] for id_ in ids} == {"completed"}
        assert receiver.most["many"] < limits.DELIVERIES_SHARE + ENDPOINTS  # a task may end just below the share


def test_an_answer_that_never_ends_is_taken_by_its_head(tmp_path: Path) -> None:
    with (
        HangingReceiver("body") as receiver,
        serving(tmp_path, "queue") as server,
        client_of(server, "one", receiver.url, 1) as client,
    ):
        id_ = client.finished(client.submit("A text.")["id"])["id"]
        eventually(lambda: receiver.came["one"] == 1 and not receiver.held["one"])

        def recorded() -> Json:
            found: Json = client.http.get(f"/api/tasks/{id_}/deliveries").json()["deliveries"][0]
            return found if found["tries"] else {}

        found = eventually(recorded)
        assert (found["status"], found["attempts"][0]["status"]) == ("delivered", 200)
        assert found["attempts"][0]["milliseconds"] < 1_000 * limits.DELIVERY_SECONDS
