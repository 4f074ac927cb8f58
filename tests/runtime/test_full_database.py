"""Tests a full database under load on workerd: what does not fit is refused, until there is space again."""

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.support.client import Client, Json, openai
from tests.support.dev_server import DevServer, eventually
from tests.support.doors_by_variable import doors
from tests.support.miniflare_d1 import cap_d1
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
ROUTES = {"queue": (), "objects": ("--env", "free")}
PAGES = 430  # The database has 1.8 MB. Its empty tables take 0.1 MB.
CHUNKS = 8
CHUNK_CHARS = 6_000
REFUSALS = 5
# A task that found no space waits for three seconds instead of ten minutes.
SHORT_RESTS = doors(limits={"STORAGE_PAUSE_SECONDS": 3.0})


def output_of(user: str) -> str:
    return b64encode(Random(user).randbytes(6_000)).decode()


def text_of(number: int) -> str:
    return "".join(f"{number:03}.{chunk}".ljust(CHUNK_CHARS - 1, "x") + "\n" for chunk in range(CHUNKS))


def fill(client: Client, model: ModelServer) -> str:
    """Fill a megabyte with a cancelled task, which keeps its input, and return its id."""
    model.hold()
    ballast = client.submit("x" * 1_000_000, chunk={"maxChars": 1_000_000})["id"]
    assert client.http.post(f"/api/tasks/{ballast}/cancel").status_code == 200
    model.release()
    model.wait_until_idle()
    model.reset()
    return str(ballast)


def load(client: Client) -> list[str]:
    """Submit tasks until some are refused because the database is full. Returns the ids of the accepted tasks."""
    accepted: list[str] = []
    refused = 0
    while refused < REFUSALS:
        number = len(accepted)
        body = {"input": text_of(number), "chunk": {"maxChars": CHUNK_CHARS}, "metadata": {"number": number}}
        answer = client.http.post("/api/tasks", json=body)
        if answer.status_code == 202:
            accepted.append(answer.json()["id"])
            continue
        refused += 1
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full"), answer.text
        assert answer.headers["retry-after"] == "300"
    return accepted


def refusals(server: DevServer) -> list[Json]:
    """Return the log of runs without space: for future calls' outputs, or for outputs that were ready."""
    lines = [json.loads(line) for line in list(server.lines) if line.startswith('{"event":"st')]
    runs = [line for line in lines if "fence" in line]
    return [line for line in runs if "storage_full" in (line["event"], line.get("error"))]


def task_of(client: Client, task_id: str) -> Json:
    """Read a task, again after a 507, which the local workerd gave once when a commit had no space."""
    answer = client.http.get(f"/api/tasks/{task_id}")
    if answer.status_code == 507:
        answer = client.http.get(f"/api/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    task: Json = answer.json()
    return task


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(ROUTES["queue"], id="queue", marks=pytest.mark.campaign),
        pytest.param(ROUTES["objects"], id="objects"),
    ],
)
def test_a_full_database_costs_no_call_and_no_task(
    environment: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cap_d1(monkeypatch, tmp_path, PAGES)

    def answer(call: Call) -> Behaviour:
        return ok(output_of(call.user))

    with (
        ModelServer(api_key="test-key", latency_seconds=0.3, plan=Plan(decide=answer)) as model,
        DevServer(
            tmp_path / "state",
            *environment,
            *openai(model.base_url),
            *SHORT_RESTS,
            *("--cron-every", "1"),
            project=write_wired_worker(tmp_path / "project"),
        ) as server,
        Client(server.url) as client,
    ):
        ballast = fill(client, model)
        accepted = load(client)
        assert eventually(lambda: len(refusals(server)) >= REFUSALS, 60)
        assert len(model.calls()) < CHUNKS * len(accepted)
        assert not all(task_of(client, task_id)["terminal"] for task_id in accepted)
        assert client.http.get("/api/async-status").status_code == 200

        assert client.http.delete(f"/api/tasks/{ballast}").status_code == 204
        ended = [client.finished(task_id, seconds=240) for task_id in accepted]
        assert [task["status"] for task in ended] == ["completed"] * len(accepted)
        assert [(task["usage"]["modelCalls"], task["usage"]["inDoubt"]) for task in ended] == [(CHUNKS, 0)] * len(ended)
        assert len(model.calls()) == CHUNKS * len(accepted)
        for task in ended:
            text = text_of(task["metadata"]["number"])
            parts = [text[at : at + CHUNK_CHARS] for at in range(0, len(text), CHUNK_CHARS)]
            assert [chunk["output"] for chunk in client.chunks(task["id"])] == [output_of(part) for part in parts]
        assert client.http.post("/api/tasks", json={"input": "There is room again."}).status_code == 202
