"""Webhooks on the real runtime: the official SDK registers endpoints, and a receiver on this machine gets messages."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI
from standardwebhooks.webhooks import Webhook

from tests.support.client import Client, Json, variables
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import make_key
from tests.support.receiver import Received, Receiver

pytestmark = pytest.mark.runtime

ENDS = ["task.completed", "task.cancelled"]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Somebody who listens."""
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The Worker with a key for webhooks, which may go to this machine."""
    values = {"WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true", "REQUIRE_KEYS": "true"}
    with DevServer(tmp_path_factory.mktemp("state"), *variables(values), "--cron-every", "1") as made:
        yield made


@pytest.fixture(scope="module")
def key(server: DevServer) -> str:
    """An API key for everything."""
    return make_key(server.persist_to)


@pytest.fixture(scope="module")
def client(server: DevServer, key: str) -> Iterator[Client]:
    """A client of the native API."""
    with Client(server.url) as made:
        made.http.headers["Authorization"] = f"Bearer {key}"
        yield made


@pytest.fixture(scope="module")
def sdk(server: DevServer, key: str) -> Iterator[OpenAI]:
    """OpenAI's own client, as it is."""
    with OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as made:
        yield made


@pytest.fixture
def endpoint(sdk: OpenAI, receiver: Receiver, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An endpoint of this test alone, made by the SDK."""
    path = f"/{request.function.__name__}"
    made = sdk.webhooks.create(name="one", url=receiver.url + path, event_types=ENDS)  # type: ignore[arg-type]
    yield made
    sdk.webhooks.delete(made.id)


def awaited(receiver: Receiver, endpoint: Any, count: int = 1) -> list[Received]:
    """Wait until so many messages have come."""
    path = httpx.URL(endpoint.url).path
    return eventually(lambda: receiver.at(path) if len(receiver.at(path)) >= count else [], 60)


def ended(client: Client) -> str:
    """Have a task end."""
    return str(client.finished(client.submit("some text")["id"])["id"])


def deliveries(client: Client, task_id: str) -> list[Json]:
    """Read a task's deliveries."""
    answer = client.http.get(f"/api/tasks/{task_id}/deliveries")
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["deliveries"]
    return found


def settled(client: Client, task_id: str, status: str) -> Json:
    """Wait until the task's one delivery has this status."""

    def found() -> Json:
        (one,) = deliveries(client, task_id)
        return one if one["status"] == status else {}

    return eventually(found, 60)


def test_an_end_is_told_and_both_verifiers_take_it(client: Client, sdk: OpenAI, receiver: Receiver, endpoint: Any):
    """The reference implementation and the SDK's `unwrap`; the delivery is listed with its one attempt; no file of the
    database has the secret."""
    task_id = ended(client)
    (message,) = awaited(receiver, endpoint)
    Webhook(endpoint.signing_secret).verify(message.body, dict(message.headers))
    event: Any = sdk.webhooks.unwrap(message.body, message.headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id) == ("task.completed", task_id)
    one = settled(client, task_id, "delivered")
    assert (one["id"], one["endpoint"], one["tries"]) == (message.headers["webhook-id"], endpoint.id, 1)
    assert [(attempt["status"], attempt["failure"]) for attempt in one["attempts"]] == [(204, None)]


def test_the_sdk_manages_endpoints(sdk: OpenAI, endpoint: Any, server: DevServer):
    """Listed and read without its secret, of which the database has nothing; a test call says what was answered."""
    assert [one.id for one in sdk.webhooks.list()] == [endpoint.id]
    found = sdk.webhooks.retrieve(endpoint.id)
    assert (found.url, found.event_types) == (endpoint.url, ENDS)
    assert not hasattr(found, "signing_secret")
    tested = sdk.webhooks.test(endpoint.id, event_type="response.completed")
    assert (tested.status_code, tested.success) == (204, True)
    secret = endpoint.signing_secret.removeprefix("whsec_").encode()
    files = [path for path in server.persist_to.rglob("*") if path.is_file()]
    assert not [path for path in files if secret in path.read_bytes()]


def test_both_secrets_sign_while_one_is_being_rotated(client: Client, sdk: OpenAI, receiver: Receiver, endpoint: Any):
    """For a day, if that is asked for; else the old one ends at once."""
    rotated = sdk.webhooks.rotate_secret(endpoint.id, keep_old_secret_active_for_24_hours=True)
    ended(client)
    (message,) = awaited(receiver, endpoint)
    for secret in (endpoint.signing_secret, rotated.signing_secret):
        Webhook(secret).verify(message.body, dict(message.headers))
        sdk.webhooks.unwrap(message.body, message.headers, secret=secret)
    newest = sdk.webhooks.rotate_secret(endpoint.id)
    sdk.webhooks.test(endpoint.id, event_type="response.failed")
    *_, message = awaited(receiver, endpoint, 2)
    Webhook(newest.signing_secret).verify(message.body, dict(message.headers))
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(rotated.signing_secret).verify(message.body, dict(message.headers))


def test_a_receiver_that_fails_gets_the_message_when_it_is_back(client: Client, receiver: Receiver, endpoint: Any):
    """A connection that is closed, then 503, which the sweep brings, then 200 at a redelivery: one id, and the attempts
    say what happened."""
    receiver.answers[httpx.URL(endpoint.url).path] = ["close", 503, 200]
    task_id = ended(client)
    message, _ = awaited(receiver, endpoint, 2)[:2]
    eventually(lambda: deliveries(client, task_id)[0]["tries"] >= 2, 30)
    again = client.http.post(f"/api/deliveries/{message.headers['webhook-id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    one = settled(client, task_id, "delivered")
    assert len({message.headers["webhook-id"] for message in awaited(receiver, endpoint, 3)}) == 1
    assert [attempt["failure"] for attempt in one["attempts"]] == ["connection", "server_error", None]
    assert [attempt["status"] for attempt in one["attempts"]] == [None, 503, 200]


def test_a_redirect_is_not_followed(client: Client, receiver: Receiver, endpoint: Any):
    """It is a failure, and where it leads to nothing comes."""
    receiver.answers[httpx.URL(endpoint.url).path] = [307]
    task_id = ended(client)
    awaited(receiver, endpoint)
    one = eventually(lambda: next((one for one in deliveries(client, task_id) if one["tries"]), {}), 30)
    assert (one["status"], one["attempts"][0]["failure"], one["attempts"][0]["status"]) == ("pending", "redirect", 307)
    assert receiver.at("/elsewhere") == []


def test_a_receiver_that_is_gone_is_disabled(client: Client, sdk: OpenAI, receiver: Receiver, endpoint: Any):
    """410 ends the delivery, disables the endpoint, and nothing can be sent to it again."""
    receiver.answers[httpx.URL(endpoint.url).path] = [410]
    one = settled(client, ended(client), "gone")
    assert sdk.webhooks.retrieve(endpoint.id).model_extra == {"status": "disabled"}
    again = client.http.post(f"/api/deliveries/{one['id']}/redeliver")
    assert (again.status_code, again.json()["code"]) == (409, "endpoint_gone")
    client.finished(client.submit("another text")["id"])
    assert len(receiver.at(httpx.URL(endpoint.url).path)) == 1


def test_an_endpoint_costs_two_rows_more(client: Client, server: DevServer, sdk: OpenAI, receiver: Receiver):
    """By workerd's own count, from the claim to the record of the attempt; a tenant without endpoints pays none."""

    def rows(event: str, seen: int) -> int:
        """The count of the first line of this event behind those that were seen."""
        lines = [json.loads(line) for line in list(server.lines)[seen:] if f'"event":"{event}"' in line]
        return int(lines[0]["rows_written"]) if lines else 0

    ended(client)  # the trigger is noted
    seen = len(server.lines)
    ended(client)
    bare = eventually(lambda: rows("run_ended", seen), 30)
    made = sdk.webhooks.create(name="one", url=f"{receiver.url}/counted", event_types=ENDS)  # type: ignore[arg-type]
    seen = len(server.lines)
    ended(client)
    assert eventually(lambda: rows("deliveries_recorded", seen), 30) == bare + 2
    assert rows("run_ended", seen) == bare + 1
    sdk.webhooks.delete(made.id)
