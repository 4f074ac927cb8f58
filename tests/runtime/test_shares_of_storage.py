"""Tests on the real runtime, without a bucket, that results do not pay for other tenants' files and refused lines."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from src.kernel.domain import limits
from tests.support.client import Client, line_of_batch, openai
from tests.support.databases import d1_file, opened
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key
from tests.support.model_plan import Behaviour, Call, Plan, status
from tests.support.model_server import ModelServer
from tests.support.worker_copy import copy_worker, without_bucket

pytestmark = pytest.mark.runtime

MOST_MB = 4
TENANTS = ("files", "results", "third")
RESULTS = 30
REFUSED = 200
FILE_BYTES = 500_000
DAY_MS = 86_400_000


def decide(call: Call) -> Behaviour | None:
    """Refuse each line that asks for it, in 16,000 characters."""
    return replace(status(400, error_code="too_long"), text="x" * 16_000) if call.user.startswith("refuse") else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    project = tmp_path_factory.mktemp("project")
    copy_worker(project)
    without_bucket(project / "wrangler.toml")
    state = tmp_path_factory.mktemp("state")
    with ModelServer(plan=Plan(decide=decide), latency_seconds=0.01) as model:
        flags = openai(model.base_url, REQUIRE_KEYS="true", STORAGE_MB_MOST=MOST_MB)
        with DevServer(state, *flags, project=project) as made:
            yield made


@pytest.fixture(scope="module")
def clients(server: DevServer) -> Iterator[dict[str, Client]]:
    made = {tenant: Client(server.url, insert_key(server.persist_to, tenant)) for tenant in (*TENANTS, "local")}
    yield made
    for client in made.values():
        client.http.close()


def upload(client: Client, content: bytes) -> httpx.Response:
    return client.http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", content)})


def age(state: Path, tenant: str, days: int) -> None:
    with closing(sqlite3.connect(d1_file(state), timeout=20)) as connection, connection:
        connection.execute("UPDATE tasks SET finished_at = finished_at - ? WHERE tenant = ?", (days * DAY_MS, tenant))


def test_refusals_are_stored_once(server: DevServer, clients: dict[str, Client]) -> None:
    client = clients["results"]
    lines = (line_of_batch(f"r-{number}", f"refuse {number}", "gpt-5.4-mini") for number in range(REFUSED))
    found = client.ended_batch(client.start_batch("".join(lines))["id"])
    assert found["status"] == "completed"
    assert found["request_counts"] == {"total": REFUSED, "completed": 0, "failed": REFUSED}
    with opened(d1_file(server.persist_to)) as database:
        ((rows, refusals, chars),) = database.execute(
            "SELECT count(*), count(refusal), sum(length(message) + coalesce(length(log), 0)) FROM failures"
        ).fetchall()
    assert (rows, refusals) == (REFUSED, 0)
    assert chars < 1_000 * REFUSED
    errors = client.http.get(f"/v1/files/{found['error_file_id']}/content").text.splitlines()
    said = [json.loads(one)["response"]["body"]["error"]["message"] for one in errors]
    assert len(said) == REFUSED
    assert {one.startswith("xxx") and one.endswith("[cut off]") for one in said} == {True}


def test_results_do_not_pay_for_the_files_of_another_tenant(server: DevServer, clients: dict[str, Client]) -> None:
    ids = [clients["results"].submit(f"Text {number}.")["id"] for number in range(RESULTS)]
    assert {clients["results"].finished(id_)["status"] for id_ in ids} == {"completed"}
    age(server.persist_to, "results", 3)
    files = []
    while (answer := upload(clients["files"], b"x" * FILE_BYTES)).status_code == 200:
        files.append(answer.json()["id"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    size = d1_file(server.persist_to).stat().st_size
    assert size < limits.CLEAR_FRACTION * MOST_MB * 1_000_000
    assert len(files) >= 2
    swept = clients["local"].http.post("/api/sweep")
    assert (swept.status_code, swept.json()["erased"]) == (200, 0), swept.text
    assert {clients["results"].task(id_)["status"] for id_ in ids} == {"completed"}
    assert clients["third"].finished(clients["third"].submit("A text.")["id"])["status"] == "completed"
    assert clients["files"].http.delete(f"/v1/files/{files[0]}").status_code == 200
