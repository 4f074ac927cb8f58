"""An erased task leaves no row, log line or message, and after the runtime's end no byte."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import LOCAL, task_key_of
from tests.runtime.conftest import ENVIRONMENTS
from tests.support import canaries
from tests.support.canaries import WORDS, loaded
from tests.support.client import Client, openai, variables
from tests.support.databases import d1_file, opened, tables
from tests.support.dev_server import DevServer, eventually
from tests.support.doors_by_variable import doors
from tests.support.metered import object_files
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime

LONG = limits.LANES_FROM_CHUNKS + 20
# For each route, how many chunks a task has: enough for lanes if the route has lanes.
CHUNKS = {"queue": LONG, "durable-object": LONG, "direct": 20}
KEPT_SECONDS = 4
WITNESSED = (*doors(witness=True), "--cron-every", "1")
RETENTION = variables({"RETENTION_DAYS": f"{KEPT_SECONDS / 86_400:.8f}"})


def echo(call: Call) -> Behaviour:
    """Answer a call with everything that the model got: as the output or, if the text says `refuse`, as a refusal."""
    repeated = f"You said {call.user} and {call.system}"
    if "refuse" in call.user:
        return Behaviour("status", status_code=400, text=repeated)
    return ok(json.dumps({"said": [repeated]}, ensure_ascii=False))


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", plan=Plan(decide=echo)) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_wired_worker(tmp_path / "project")


def messages(server: DevServer) -> list[tuple[str, object]]:
    lines = [line.split(" ", 2) for line in server.lines if line.startswith("message ")]
    return [(queue, json.loads(body)) for _, queue, body in lines]


def submit(client: Client, paragraphs: int, mark: str = "", *, formed: bool = True, **fields: object) -> str:
    body = loaded(paragraphs, mark, formed=formed)
    return client.submit(body.pop("input"), **body | fields)["id"]


def delete(client: Client, *task_ids: str) -> None:
    for task_id in task_ids:
        assert client.http.delete(f"/api/tasks/{task_id}").status_code == 204
        assert client.http.get(f"/api/tasks/{task_id}").status_code == 404


def deleted_under_way(server: DevServer, client: Client, model: ModelServer, *, cancelled: bool) -> str:
    model.hold()
    task_id = submit(client, 8)
    model.wait_for_in_flight(6)
    if cancelled:
        assert client.http.post(f"/api/tasks/{task_id}/cancel").json()["status"] == "cancelled"
    delete(client, task_id)
    model.release()
    server.wait_for_line(f'"claim_lost".*"{task_id}"|"{task_id}".*"claim_lost"')
    return task_id


@pytest.mark.parametrize(
    "route",
    [
        pytest.param("queue", marks=pytest.mark.campaign),
        "durable-object",
        pytest.param("direct", marks=pytest.mark.campaign),
    ],
)
def test_deleted_tasks_leave_nothing(route: str, project: Path, model: ModelServer, tmp_path: Path):
    state = tmp_path / "state"
    flags = (*ENVIRONMENTS[route], *openai(model.base_url), *WITNESSED)
    with DevServer(state, *flags, project=project) as server, Client(server.url) as client:
        kept = client.finished(client.submit("This one stays.")["id"])
        done = client.finished(submit(client, CHUNKS[route]))
        assert (done["status"], done["route"]) == ("completed", route)
        coordinators = [path for path in object_files(state) if path.parent.name.endswith("BatchCoordinator")]
        assert len(coordinators) == (route != "direct")
        assert canaries.words_in(done["result"]["output"].encode()) == canaries.WORDS_SENT
        # Here the submission has no schema, because a refusal that quotes a schema would count as a refusal of the
        # schema.
        failed = client.finished(submit(client, 2, "refuse ", formed=False))
        assert failed["error"]["code"] == "model_refused"
        assert client.http.post("/api/tasks", json=loaded(1) | {"reduce": "melt"}).status_code == 422

        assert set().union(*canaries.in_rows(state).values()) == WORDS
        assert set().union(*canaries.in_files(state).values()) == WORDS
        delete(client, done["id"], failed["id"])
        gone = [deleted_under_way(server, client, model, cancelled=cancelled) for cancelled in (True, False)]

        assert canaries.in_rows(state) == {}
        assert canaries.in_output(server) == set()
        told = [kept["id"], done["id"], failed["id"], *gone] if route == "queue" else []
        assert messages(server) == [
            ("ai-processing-queue", {"taskId": task_key_of(LOCAL, task_id)}) for task_id in told
        ]
        assert client.task(kept["id"]) == kept
        assert server.stop() == 0
        assert canaries.in_output(server) == set()
    assert canaries.in_files(state) == {}


def test_retention_leaves_nothing(project: Path, model: ModelServer, tmp_path: Path):
    state = tmp_path / "state"
    flags = (*openai(model.base_url), *RETENTION, *WITNESSED)
    with DevServer(state, *flags, project=project) as server, Client(server.url) as client:
        model.hold()
        done = submit(client, 6)
        busy = [submit(client, 1) for _ in range(9)]
        model.wait_for_in_flight(15)  # Ten tasks keep all consumers of the local queue busy.
        # If a task has a schema, its message in the dead-letter queue does not make it fail.
        cancelled, dead = submit(client, 6), submit(client, 6, formed=False)
        assert client.http.post(f"/api/tasks/{cancelled}/cancel").status_code == 200
        letter = {"queue": "AI_DLQ", "bodies": [{"taskId": task_key_of(LOCAL, dead)}]}
        assert client.http.post("/_test/messages", json=letter).text == "sent"
        assert client.finished(dead)["error"]["code"] == "dead_lettered"
        assert set().union(*canaries.in_rows(state).values()) == WORDS
        model.release()
        assert client.finished(done)["status"] == "completed"

        eventually(lambda: canaries.in_rows(state) == {})
        told = (done, cancelled, dead, *busy)
        for task_id in told:
            assert client.http.get(f"/api/tasks/{task_id}").status_code == 404
        assert {queue for queue, _ in messages(server)} == {"ai-processing-queue", "ai-processing-dlq"}
        assert all(
            body in [{"taskId": task_key_of(LOCAL, task_id)} for task_id in told] for _, body in messages(server)
        )
        assert canaries.in_output(server) == set()
        # The free space in SQLite's files still contains the canaries, as the design says.
        assert set().union(*canaries.in_files(state).values()) == WORDS
        server.kill()
    with DevServer(state, *flags, project=project):
        assert canaries.in_files(state) == {}


def naming(state: Path, word: str) -> set[str]:
    with opened(d1_file(state)) as connection:
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables(connection)}  # noqa: S608
    return {name for name, found in rows.items() if word in str(found)}


def test_little_names_a_tenant_without_tasks(tmp_path: Path):
    plan = Plan(by_number={1: Behaviour("status", status_code=503)})
    with ModelServer(api_key="test-key", plan=plan) as model:
        flags = openai(model.base_url, MAX_CHARACTERS_PER_DAY="1000")
        with DevServer(tmp_path, *flags, "--cron-every", "1") as server, Client(server.url) as client:
            tasks = [client.submit("one\n\ntwo", chunk={"maxChars": 5}, model="kanarie") for _ in range(2)]
            assert [client.finished(one["id"])["status"] for one in tasks] == ["completed"] * 2
            assert "latest_calls" in naming(tmp_path, "kanarie")
            delete(client, tasks[0]["id"])
            assert "latest_calls" in naming(tmp_path, "kanarie")
            delete(client, tasks[1]["id"])
            assert naming(tmp_path, "kanarie") == set()
            assert naming(tmp_path, LOCAL) == {"daily_use", "tombstones"}
            server.stop()
