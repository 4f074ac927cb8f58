"""Tests on the real runtime that an operator's key can act on another tenant's task, and that other keys cannot."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key, make_key
from tests.support.model_plan import Plan, hang
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(model: ModelServer, state: Path) -> Iterator[DevServer]:
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=20, LEASE_SECONDS=40)
    with DevServer(state, *flags, "--var", "REQUIRE_KEYS:true", "--cron-every", "2") as started:
        yield started


def test_an_operator_looks_after_anothers_task(server: DevServer, state: Path, model: ModelServer) -> None:
    """With a key from `make key`, an operator lists, reads, cancels, retries and follows another tenant's task."""
    operator = make_key(state, "--scopes", "read,write,operator")
    acme, plain = insert_key(state, "acme"), insert_key(state, "other")
    headers = {"Authorization": f"Bearer {operator}"}
    with Client(server.url) as theirs, httpx.Client(base_url=server.url, headers=headers, timeout=60) as ours:
        theirs.http.headers["Authorization"] = f"Bearer {acme}"
        model.plan = Plan(decide=lambda call: hang())
        task_id = theirs.submit(paragraphs(2))["id"]
        path, of_acme = f"/api/tasks/{task_id}", {"tenant": "acme"}
        for query in (of_acme, {"tenant": "*"}):
            (listed,) = ours.get("/api/tasks", params=query).json()["tasks"]
            assert (listed["id"], listed["tenant"]) == (task_id, "acme")
        assert ours.get(path).status_code == 404
        assert ours.get(path, params=of_acme).json()["tenant"] == "acme"
        cancelled = ours.post(f"{path}/cancel", params=of_acme)
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        model.plan = Plan()
        retried = ours.post(f"{path}/retry", params=of_acme)
        assert (retried.status_code, retried.headers["Location"]) == (202, f"{path}?tenant=acme")
        assert theirs.finished(task_id)["status"] == "completed"
        events = ours.get(f"{path}/events", params=of_acme).text
        assert f'"self": "{path}?tenant=acme"' in events.rpartition("event: end")[2]
        (figures,) = ours.get("/api/tenants", params={"tenant": "*"}).json()["tenants"]
        assert (figures["tenant"], figures["completed"], figures["tasks"]) == ("acme", 1, 1)

        strange = {"Authorization": f"Bearer {plain}"}
        for query, refused in (({}, 404), (of_acme, 403), ({"tenant": "nobody"}, 403)):
            answers = [
                ours.get(path, params=query, headers=strange),
                ours.get(f"{path}/events", params=query, headers=strange),
            ]
            answers += [ours.post(f"{path}/{act}", params=query, headers=strange) for act in ("cancel", "retry")]
            assert {answer.status_code for answer in answers} == {refused}
        assert ours.get("/api/tasks", params={"tenant": "*"}, headers=strange).status_code == 403
    acts = [json.loads(line[line.index("{") :]) for line in server.lines if '"event":"operator_acted"' in line]
    assert [act["call"] for act in acts if act["call"] != "followTask"] == [
        "listTasks",
        "listTasks",
        "readTask",
        "cancelTask",
        "retryTask",
        "readTenants",
    ]
    assert {(act["by"], act["tenant"]) for act in acts} == {("local", "acme")}
