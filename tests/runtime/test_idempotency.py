"""Tests Idempotency-Key on the real runtime: equal requests at once, and a SIGKILL between write and answer."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from src.kernel.domain.ids import TaskKey, split_task_key
from tests.support.client import Client, paragraphs, variables
from tests.support.databases import opened, tables
from tests.support.dev_server import DevServer
from tests.support.doors_by_variable import doors
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime

TWINS = 50
BODY = {"input": paragraphs(3), "chunk": {"maxChars": 40}}
HEADERS = {"Idempotency-Key": "one-and-only"}


def rows(state: Path) -> list[tuple[str, str]]:
    """Return the key and the status of each task, read from D1's file and not through the runtime."""
    for path in state.glob("v3/d1/**/*.sqlite"):
        with opened(path) as database:
            if "tasks" in tables(database):
                return database.execute("SELECT id, status FROM tasks").fetchall()
    return []


def test_fifty_at_once_are_one_task(tmp_path: Path) -> None:
    with DevServer(tmp_path) as server, Client(server.url) as client:
        start = threading.Barrier(TWINS)

        def submit(_: int) -> httpx.Response:
            with httpx.Client(base_url=server.url, timeout=120) as own:
                start.wait(60)
                return own.post("/api/tasks", json=BODY, headers=HEADERS)

        with ThreadPoolExecutor(TWINS) as pool:
            answers = list(pool.map(submit, range(TWINS)))
        assert Counter(answer.status_code for answer in answers) == {202: TWINS}, answers[0].text
        assert len({answer.json()["id"] for answer in answers}) == 1
        replayed = Counter(answer.headers.get("idempotency-replayed") for answer in answers)
        assert replayed == {None: 1, "true": TWINS - 1}
        task = client.finished(answers[0].json()["id"])
        assert (task["status"], task["usage"]["modelCalls"], task["attempts"]) == ("completed", 3, 1)
        listed = client.http.get("/api/tasks").json()
        assert ([item["id"] for item in listed["tasks"]], listed["nextCursor"]) == ([task["id"]], None)
        other = client.http.post("/api/tasks", json={"input": "x"}, headers=HEADERS)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize("place", [pytest.param("send", marks=pytest.mark.campaign), "reply"])
def test_killed_between_write_and_reply(tmp_path: Path, place: str) -> None:
    project, state = write_wired_worker(tmp_path / "project"), tmp_path / "state"
    flags = [*variables({"LEASE_SECONDS": 2, "AI_TIMEOUT_SECONDS": 1}), "--cron-every", "1"]
    with DevServer(state, *flags, *doors(hold=place), project=project) as server:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(httpx.post, f"{server.url}/api/tasks", json=BODY, headers=HEADERS, timeout=50)
            while not (written := rows(state)):
                assert place == "send" or not answer.done(), answer.result().text
                time.sleep(0.02)
            if place == "send":
                assert answer.result().status_code == 202
            server.kill()
            if place == "reply":
                with pytest.raises(httpx.TransportError):
                    answer.result()
        ((key, _),) = written
    with DevServer(state, *flags, project=project) as server, Client(server.url) as client:
        again = client.http.post("/api/tasks", json=BODY, headers=HEADERS)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
        assert again.json()["id"] == split_task_key(TaskKey(key))[1]
        task = client.finished(again.json()["id"])
        assert (task["status"], task["progress"]["completed"]) == ("completed", 3)
        assert [item["id"] for item in client.http.get("/api/tasks").json()["tasks"]] == [task["id"]]
    assert [key for key, _ in rows(state)] == [key]
