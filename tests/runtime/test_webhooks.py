"""Tests webhooks on the real runtime, with OpenAI's SDK as the client and a receiver of messages on this machine."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from standardwebhooks.webhooks import Webhook

from local.node import find_node
from tests.clients.walking import unwrapped
from tests.support.client import Client, Json, variables
from tests.support.dev_server import DevServer, eventually
from tests.support.loopback import reserved_port
from tests.support.make_key import insert_key
from tests.support.programs import output_of
from tests.support.receiver import Received, Receiver, listens
from tests.support.shell_blocks import LOCAL_URL, ROOT, blocks

pytestmark = pytest.mark.runtime

ENDS = ["task.completed", "task.cancelled"]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    values = {"WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true", "REQUIRE_KEYS": "true"}
    with DevServer(tmp_path_factory.mktemp("state"), *variables(values), "--cron-every", "1") as made:
        yield made


@pytest.fixture(scope="module")
def key(server: DevServer) -> str:
    return insert_key(server.persist_to)


@pytest.fixture(scope="module")
def client(server: DevServer, key: str) -> Iterator[Client]:
    with Client(server.url, key) as made:
        yield made


@pytest.fixture(scope="module")
def sdk(server: DevServer, key: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as made:
        yield made


@pytest.fixture
def endpoint(sdk: OpenAI, receiver: Receiver, request: pytest.FixtureRequest) -> Iterator[Any]:
    path = f"/{request.function.__name__}"
    made = sdk.webhooks.create(name="one", url=receiver.url + path, event_types=ENDS)  # type: ignore[arg-type]
    yield made
    sdk.webhooks.delete(made.id)


def awaited(receiver: Receiver, endpoint: Any, count: int = 1) -> list[Received]:
    path = httpx.URL(endpoint.url).path
    return eventually(lambda: receiver.at(path) if len(receiver.at(path)) >= count else [], 60)


def ended(client: Client) -> str:
    return str(client.finished(client.submit("some text")["id"])["id"])


def deliveries(client: Client, task_id: str) -> list[Json]:
    answer = client.http.get(f"/api/tasks/{task_id}/deliveries")
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["deliveries"]
    return found


def settled(client: Client, task_id: str, status: str) -> Json:
    def found() -> Json:
        (one,) = deliveries(client, task_id)
        return one if one["status"] == status else {}

    return eventually(found, 60)


def test_an_end_is_told_and_both_verifiers_take_it(client: Client, sdk: OpenAI, receiver: Receiver, endpoint: Any):
    task_id = ended(client)
    (message,) = awaited(receiver, endpoint)
    Webhook(endpoint.signing_secret).verify(message.body, dict(message.headers))
    event: Any = sdk.webhooks.unwrap(message.body, message.headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id) == ("task.completed", task_id)
    one = settled(client, task_id, "delivered")
    assert (one["id"], one["endpoint"], one["tries"]) == (message.headers["webhook-id"], endpoint.id, 1)
    assert [(attempt["status"], attempt["failure"]) for attempt in one["attempts"]] == [(204, None)]


@pytest.mark.parametrize("package", ["openai", pytest.param("openai6", marks=pytest.mark.campaign)])
def test_unwrap_for_javascript(client: Client, sdk: OpenAI, receiver: Receiver, package: str):
    made = sdk.webhooks.create(name="one", url=f"{receiver.url}/{package}", event_types=ENDS)  # type: ignore[arg-type]
    old, other = made.signing_secret, f"whsec_{'A' * 43}="
    unwrap = (find_node(), "unwrap.mjs", package)
    no = ["InvalidWebhookSignatureError"]

    def told(count: int) -> tuple[Received, list[str]]:
        task_id = ended(client)
        *_, message = awaited(receiver, made, count)
        return message, [message.headers["webhook-id"], "task.completed", task_id]

    message, event = told(1)
    assert unwrapped(unwrap, message.body, message.headers, [old, other]) == [event, no]
    changed = message.body.replace("completed", "cancelled")
    assert unwrapped(unwrap, changed, message.headers, [old]) == [no]
    both = sdk.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True).signing_secret
    message, event = told(2)
    assert unwrapped(unwrap, message.body, message.headers, [old, both, other]) == [event, event, no]
    newest = sdk.webhooks.rotate_secret(made.id).signing_secret
    message, event = told(3)
    assert unwrapped(unwrap, message.body, message.headers, [old, both, newest]) == [no, no, event]
    sdk.webhooks.delete(made.id)


def test_the_programs_of_the_page(client: Client, server: DevServer, sdk: OpenAI, key: str, tmp_path: Path):
    """The programs in docs/clients.md run unchanged, except that ports and the key are replaced."""
    page = ROOT / "docs" / "clients.md"
    register, receive, test = blocks(page, "python")[-3:]
    (printed,) = blocks(page, "text")
    assert len([line for line in receive.splitlines() if line]) <= 20
    port = reserved_port()

    def here(program: str) -> list[str]:
        changed = program.replace(LOCAL_URL, server.url).replace('api_key="none"', f'api_key="{key}"')
        return [sys.executable, "-c", changed.replace("8000", str(port))]

    secret = output_of(here(register)).strip()
    output = tmp_path / "printed"
    with output.open("w") as out:
        process = subprocess.Popen(
            here(receive), stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, "WEBHOOK_SECRET": secret}
        )
    try:
        eventually(lambda: listens(port), 30)
        assert output_of(here(test)) == "204\n"
        task_id = ended(client)
        came = eventually(lambda: lines if len(lines := output.read_text().splitlines()) == 2 else [], 60)
        assert httpx.post(f"http://127.0.0.1:{port}/", json={"type": "task.completed"}).status_code == 400
        assert output.read_text().splitlines() == came
    finally:
        process.kill()
        process.wait()
    (endpoint,) = sdk.webhooks.list()
    assert came == [f"response.completed test_{endpoint.id}", f"task.completed {task_id}"]
    assert [_without_ids(line) for line in printed.splitlines()] == [_without_ids(line) for line in came]
    sdk.webhooks.delete(endpoint.id)


def _without_ids(line: str) -> str:
    return re.sub(r"[0-9a-f]{24}|[0-9a-f-]{36}", "ID", line)


def test_a_receiver_that_fails_gets_the_message_when_it_is_back(client: Client, receiver: Receiver, endpoint: Any):
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
    receiver.answers[httpx.URL(endpoint.url).path] = [307]
    task_id = ended(client)
    awaited(receiver, endpoint)
    one = eventually(lambda: next((one for one in deliveries(client, task_id) if one["tries"]), {}), 30)
    assert (one["status"], one["attempts"][0]["failure"], one["attempts"][0]["status"]) == ("pending", "redirect", 307)
    assert receiver.at("/elsewhere") == []


def test_a_receiver_that_is_gone_is_disabled(client: Client, sdk: OpenAI, receiver: Receiver, endpoint: Any):
    receiver.answers[httpx.URL(endpoint.url).path] = [410]
    one = settled(client, ended(client), "gone")
    shown = {"status": "disabled", "failed_attempts": 0, "last_failure": None}
    assert sdk.webhooks.retrieve(endpoint.id).model_extra == shown
    again = client.http.post(f"/api/deliveries/{one['id']}/redeliver")
    assert (again.status_code, again.json()["code"]) == (409, "endpoint_gone")
    client.finished(client.submit("another text")["id"])
    assert len(receiver.at(httpx.URL(endpoint.url).path)) == 1


def test_an_endpoint_costs_two_rows_more(client: Client, server: DevServer, sdk: OpenAI, receiver: Receiver):
    def rows(event: str, seen: int) -> int:
        lines = [json.loads(line) for line in list(server.lines)[seen:] if f'"event":"{event}"' in line]
        return int(lines[0]["rows_written"]) if lines else 0

    seen = len(server.lines)
    ended(client)  # The claim of the first task also writes the time of the task's trigger.
    eventually(lambda: rows("run_ended", seen), 30)
    seen = len(server.lines)
    ended(client)
    bare = eventually(lambda: rows("run_ended", seen), 30)
    made = sdk.webhooks.create(name="one", url=f"{receiver.url}/counted", event_types=ENDS)  # type: ignore[arg-type]
    seen = len(server.lines)
    ended(client)
    assert eventually(lambda: rows("deliveries_recorded", seen), 30) == bare + 2
    assert rows("run_ended", seen) == bare + 1
    sdk.webhooks.delete(made.id)
