"""Tests requests that retry or cancel many tasks at once, in the real workerd, under the free plan's limits."""

from collections.abc import Iterator

import pytest

from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, hang, status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

TASKS = 55  # 55 tasks are more than one invocation on the free plan may dispatch.


@pytest.fixture(scope="module")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=10, LEASE_SECONDS=20)
    with DevServer(tmp_path_factory.mktemp("state"), *flags, "--limits", "free", "--cron-every", "1") as made:
        yield made


def post(client: Client, path: str, **fields: object) -> tuple[int, Json]:
    answer = client.http.post(f"/api/tasks/{path}", json=fields)
    return answer.status_code, answer.json()


def test_many_tasks_go_on_and_end_in_one_request_each(server: DevServer, model: ModelServer) -> None:
    """One request counts 55 failed tasks, another request retries them all, and they complete; later, two tasks are
    cancelled.
    """
    with Client(server.url) as client:
        model.plan = Plan(decide=lambda call: status(401))
        tasks = [client.submit(paragraphs(1))["id"] for _ in range(TASKS)]
        assert {client.finished(task)["error"]["code"] for task in tasks} == {"model_refused"}
        counted = post(client, "retry", errorCode="model_refused", dryRun=True)
        assert counted == (200, {"tasks": TASKS, "minimumCalls": TASKS, "maximumCalls": 3 * TASKS, "more": False})
        model.plan = Plan()
        assert post(client, "retry", errorCode="model_timeout") == (202, {"retried": 0, "more": False})
        assert post(client, "retry", errorCode="model_refused") == (202, {"retried": TASKS, "more": False})
        assert {client.finished(task)["status"] for task in tasks} == {"completed"}
        assert not [line for line in server.lines if "Too many" in line]
        model.plan = Plan(decide=lambda call: hang())
        hanging = [client.submit(paragraphs(1))["id"] for _ in range(2)]
        assert post(client, "cancel", dryRun=True) == (200, {"tasks": 2, "more": False})
        assert post(client, "cancel") == (202, {"cancelled": 2, "more": False})
        assert [client.task(task)["status"] for task in hanging] == ["cancelled"] * 2
        assert len([line for line in server.lines if '"event":"retried"' in line]) == TASKS
