"""The lanes of a long task: what their death loses, what they cost, and what they leave."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.kernel.domain import limits
from tests.runtime.conftest import ENVIRONMENTS
from tests.support import metered
from tests.support.client import Client, line_of_batch, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.worker_copy import copy_worker

pytestmark = pytest.mark.runtime
CHUNKS = 3 * limits.LANE_CHUNKS
IN_FLIGHT = 3 * limits.LANE_CALLS


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", latency_seconds=0.2) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer) -> None:
    model.release()
    model.wait_until_idle()
    model.reset()


def flags(route: str, model: ModelServer, **settings: object) -> list[str]:
    return [*ENVIRONMENTS[route], *openai(model.base_url, **settings), "--cron-every", "1"]


@pytest.fixture(scope="module")
def objects(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with DevServer(tmp_path_factory.mktemp("state"), *flags("durable-object", model)) as server:
        yield server


def run_in_three_lanes(route: str, dev: DevServer, model: ModelServer) -> None:
    with Client(dev.url) as client:
        state, text = dev.persist_to, paragraphs(CHUNKS)
        eventually(lambda: not metered.object_rows(state))
        model.hold()
        submitted = client.submit(text, chunk={"maxChars": 40})
        model.wait_for_in_flight(IN_FLIGHT)
        # The coordinator and the task's object, if there is one, write only at the claim, and not later.
        held = metered.object_rows(state)
        assert (held.get("_cf_KV", 0), held["version"]) == (int(route == "durable-object"), 1)
        model.release()
        task = client.finished(submitted["id"])
        assert (task["status"], task["route"]) == ("completed", route)
        calls = model.calls()
        assert len(calls) == CHUNKS == task["usage"]["modelCalls"]
        assert "".join(sorted(call.user for call in calls)) == text
        assert 6 < max(call.in_flight for call in calls) <= IN_FLIGHT
        assert task["usage"]["inDoubt"] == 0
        chunks = client.http.get(f"{task['links']['self']}/chunks").json()["chunks"]
        assert {chunk["lane"] for chunk in chunks} == {1, 2, 3}
        # After the task has ended, its host closes the lanes, and the storage of host and coordinator is empty.
        eventually(lambda: not metered.object_rows(state))


def test_a_long_task_is_not_bound_to_six_calls_at_a_time(objects: DevServer, model: ModelServer):
    """Three lanes have more than six calls in flight, each made once, and leave nothing."""
    run_in_three_lanes("durable-object", objects, model)


@pytest.mark.campaign
def test_a_long_task_on_the_queue_is_not_bound_to_six_calls(model: ModelServer, tmp_path: Path):
    with DevServer(tmp_path, *flags("queue", model)) as dev:
        run_in_three_lanes("queue", dev, model)


@pytest.mark.parametrize("route", [pytest.param("queue", marks=pytest.mark.campaign), "durable-object"])
def test_lanes_that_are_killed_repeat_at_most_what_was_in_flight(route: str, model: ModelServer, tmp_path: Path):
    settings = flags(route, model, AI_TIMEOUT_SECONDS=40, LEASE_SECONDS=60)
    with DevServer(tmp_path, *settings) as dev, Client(dev.url) as client:
        task = client.submit(paragraphs(CHUNKS), chunk={"maxChars": 40})
        model.wait_for_calls(30)
        model.hold()
        model.wait_for_in_flight(IN_FLIGHT)
        dev.kill()
    model.release()
    model.wait_until_idle()
    with DevServer(tmp_path, *settings) as dev, Client(dev.url) as client:
        done = client.finished(task["id"])
    assert done["status"] == "completed"
    assert CHUNKS <= len(model.calls()) <= CHUNKS + IN_FLIGHT
    usage = done["usage"]
    assert usage["inDoubt"] == IN_FLIGHT
    assert usage["modelCalls"] - usage["inDoubt"] <= len(model.calls()) <= usage["modelCalls"]


def test_what_lanes_cost_a_task_on_the_queue(model: ModelServer, tmp_path: Path):
    """A ping, per six calls two object requests and two rows, nine rows, and a close; a short task none."""
    with DevServer(tmp_path, *flags("queue", model), "--limits", "paid") as dev, Client(dev.url) as client:
        client.finished(client.submit(paragraphs(20), chunk={"maxChars": 40})["id"])
        assert not of_objects(dev)
        model.reset()
        model.hold()
        submitted = client.submit(paragraphs(CHUNKS), chunk={"maxChars": 40})
        model.wait_for_in_flight(IN_FLIGHT)
        model.release()
        task = client.finished(submitted["id"])
        assert len(model.calls()) == CHUNKS
        assert 6 < max(call.in_flight for call in model.calls()) <= IN_FLIGHT
        eventually(lambda: of_objects(dev)["BatchCoordinator.close"])
        requests = of_objects(dev)
        groups = requests["BatchCoordinator.infer"]
        assert requests == {
            "BatchCoordinator.reach": 1,
            "BatchCoordinator.infer": groups,
            "AIProcessor.infer": groups,
            "BatchCoordinator.close": 1,
        }
        lines = [line for line in metered.lines(dev) if "." in line["handler"]]
        # On a busy machine calls of like length end apart, and a group is then answered in parts.
        assert CHUNKS // limits.LANE_CALLS <= groups <= CHUNKS
        assert sum(line["rows_written"] for line in lines) == 0
        assert 0 < sum(line["d1_statements"] for line in lines) <= groups
        rows = sum(line["object_rows_written"] for line in lines)
        assert 2 * CHUNKS // limits.LANE_CALLS <= rows - 9 <= 2 * groups, (groups, lines)
        assert task["usage"]["modelCalls"] == CHUNKS


def of_objects(dev: DevServer) -> Counter[str]:
    return Counter(line["handler"] for line in metered.lines(dev) if "." in line["handler"])


def begin_batch(client: Client, lines: int) -> str:
    content = "".join(line_of_batch(f"r-{number}", "A line.", "test-model") for number in range(lines))
    return str(client.start_batch(content, completion_window="1h")["onceover"]["task"]).rpartition("/")[2]


# What the objects' code of a release without batches lacks.
EARLIER = {
    "coordinator": ("return await self._coordinator.reach()", "await self._coordinator.reach()"),
    "lane": ("async def infer_lines(", "async def another_name("),
}


def run_batch(api: Client, model: ModelServer) -> int:
    task = api.finished(begin_batch(api, CHUNKS), 120)
    assert (task["status"], task["usage"]["modelCalls"], task["usage"]["inDoubt"]) == ("completed", CHUNKS, 0)
    return max(call.in_flight for call in model.calls())


def test_lines_are_called_in_lanes(objects: DevServer, model: ModelServer):
    with Client(objects.url) as api:
        assert 6 < run_batch(api, model) <= IN_FLIGHT


@pytest.mark.campaign
@pytest.mark.parametrize("which", EARLIER)
def test_lines_are_called_only_by_objects_that_know_them(which: str, model: ModelServer, tmp_path: Path):
    """After a deployment an object may run earlier code for 300 s, which would pay for calls of empty texts."""
    project = copy_worker(tmp_path / "project")
    source = project / "src" / "platform" / "durable_objects.py"
    before, after = EARLIER[which]
    text = source.read_text()
    assert before in text
    source.write_text(text.replace(before, after))
    with DevServer(tmp_path / "state", *flags("durable-object", model), project=project) as dev, Client(dev.url) as api:
        if which == "coordinator":
            assert run_batch(api, model) <= 6
            return
        task_id = begin_batch(api, CHUNKS)
        eventually(lambda: dev.output.count("lane_failed") >= limits.FRUITLESS_MOST)
        eventually(lambda: "run_idle" in dev.output)
        assert not model.calls()
        usage = api.task(task_id)["usage"]
        assert (usage["modelCalls"], usage["inDoubt"]) == (0, 0)
