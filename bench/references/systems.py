"""Starts the compared systems, and runs works on them."""

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench.references import works
from bench.references.works import Work, texts
from local.node import find_node
from tests.support.client import Client, Json, openai
from tests.support.dev_server import ROOT, DevServer
from tests.support.processor_time import cpu_seconds
from tests.support.worker_copy import copy_worker

POLL_SECONDS = 0.05  # the seconds between two polls of a reference system, which does not support `?wait=`
FINISHED_SECONDS = 300.0
READY_SECONDS = 300.0  # a reference system is ready after four seconds on a machine without other work
QUIET_SECONDS = 3.0
_BINDINGS = re.compile(r"^\[\[(?:durable_objects\.bindings|migrations)\]\]\n(?:[^\[\n].*\n)+", re.MULTILINE)
_ONCEOVER: dict[str, tuple[str, tuple[str, ...]]] = {
    works.QUEUE: ("paid", ()),
    works.OBJECTS: ("paid", ("--env", "free")),
    works.QUEUE_FREE: ("free", ()),
    works.OBJECTS_FREE: ("free", ("--env", "free")),
    works.QUEUE_ALONE_FREE: ("free", ()),
    works.QUEUE_FAR: ("paid", ()),
    works.OBJECTS_FAR: ("paid", ("--env", "free")),
    works.QUEUE_FAR_FREE: ("free", ()),
    works.OBJECTS_FAR_FREE: ("free", ("--env", "free")),
}
# These lines are added to the main module of a copy of the Worker. They delay each D1 call and each send to a queue, as
# if both were far away. Everything in the Worker, its objects included, uses D1 and queues by these two methods.
_DISTANCE = f"""

import asyncio as _asyncio

from src.platform.d1 import BoundD1 as _BoundD1
from src.platform.queues import BoundQueue as _BoundQueue


def _far(call, seconds):
    async def arrived(*values):
        await _asyncio.sleep(seconds)
        return await call(*values)

    return arrived


_BoundD1.batch = _far(_BoundD1.batch, {works.D1_SECONDS})
_BoundQueue.send = _far(_BoundQueue.send, {works.SEND_SECONDS})
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The measurements of one work, in seconds except for `submits_ms`.

    `elapsed` is the time from the first task's creation to the last task's end, by the times that the system reports.
    `seen` is the time from the client's first request until the client has read the last result. `cpu` is the CPU time
    of all processes of the server (0 without /proc). `counts` is what the model server has counted (model.mjs).
    `load` is the machine's average load over the last minute.
    """

    submits_ms: list[float]
    elapsed: float
    seen: float
    cpu: float
    counts: Mapping[str, float]
    load: float


class NodeServer(DevServer):
    """Runs a script of this folder in a process group of its own."""

    def __init__(self, script: str, *arguments: str) -> None:
        super().__init__(Path(), ready_seconds=READY_SECONDS)
        self.command = [str(find_node()), str(Path(__file__).with_name(script)), *arguments]


class Model(NodeServer):
    """The model server that all systems call."""

    def __init__(self) -> None:
        super().__init__("model.mjs")

    def plan(self, *, delay_ms: int, output_chars: int, spread_ms: int = 0, draw: int = 0) -> None:
        """Set how the model server answers, and reset its counts. `draw` chooses the delays within `spread_ms`."""
        plan = {"delayMs": delay_ms, "spreadMs": spread_ms, "draw": draw, "outputChars": output_chars}
        httpx.put(f"{self.url}/plan", content=json.dumps(plan)).raise_for_status()

    def counts(self) -> dict[str, float]:
        """Return what the model server has counted since the last `plan`."""
        return httpx.get(f"{self.url}/counts").raise_for_status().json()

    def wait_until_quiet(self) -> None:
        """Wait until a failed work makes no more calls: until the model server got no new call for some seconds."""
        pause = threading.Event()
        before = None
        while (now := self.counts()) != before or now["inFlight"]:
            before = now
            pause.wait(QUIET_SECONDS)


def client_of(url: str) -> Client:
    """Make a client that opens a connection for each request, because workerd sometimes drops reused connections."""
    client = Client(url)
    client.http.close()
    client.http = httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
    return client


def server_of(system: str, folder: Path, model_url: str) -> DevServer:
    """Make the server of a system, with the system's state in `folder`, but do not start the server."""
    if system in {works.SEED, works.WORKFLOWS}:
        return NodeServer("host.mjs", system, str(folder), f"{model_url}/v1")
    plan, flags = _ONCEOVER[system]
    variables = openai(f"{model_url}/v1", PLAN=plan)
    project = _project(system, folder / "project")
    # The server of onceover runs without the meter, because the meter takes CPU time and the references have none.
    return DevServer(folder, *flags, "--limits", "off", *variables, project=project, ready_seconds=READY_SECONDS)


def _project(system: str, folder: Path) -> Path | None:
    """Make the copy of the Worker that a system runs; return None if it runs the Worker itself."""
    if system == works.QUEUE_ALONE_FREE:
        return _without_objects(folder)
    if system in works.FAR:
        entry = copy_worker(folder) / "src" / "entry.py"
        entry.write_text(entry.read_text() + _DISTANCE)
        return folder
    return None


def _without_objects(project: Path) -> Path:
    """Make a copy of the Worker whose wrangler.toml binds no Durable Objects at its top level."""
    copy_worker(project)
    text, count = _BINDINGS.subn("", (ROOT / "wrangler.toml").read_text())
    assert count == 3, "wrangler.toml binds its objects in another way"
    (project / "wrangler.toml").write_text(text)
    return project


def measured(server: DevServer, client: Client, model: Model, work: Work, chars: int, run: int = 0) -> Sample:
    """Run a work: submit its tasks one after the other, then wait for each. Raise AssertionError if a task fails.

    `chars` is the size of a chunk, unless the work has a size of its own. Calls of uneven length have other lengths in
    each `run`, and the same ones on each system.
    """
    chars = work.chars or chars
    model.plan(delay_ms=work.delay_ms, spread_ms=work.spread_ms, draw=run, output_chars=max(40, chars // 6))
    inputs = texts(work, chars)
    submits = []
    ids = []
    spent = cpu_seconds(server.process.pid)
    begin = time.perf_counter()
    for text in inputs:
        sent = time.perf_counter()
        ids.append(client.submit(text, chunk={"maxChars": chars})["id"])
        submits.append((time.perf_counter() - sent) * 1000)
    tasks = [finished(client, task_id) for task_id in ids]
    seen = time.perf_counter() - begin
    spent = cpu_seconds(server.process.pid) - spent
    for task in tasks:
        assert (task["status"], task["progress"]["total"]) == ("completed", work.chunks), task
    created, ended = ([moment(task[name]) for task in tasks] for name in ("createdAt", "finishedAt"))
    return Sample(submits, max(ended) - min(created), seen, spent, model.counts(), os.getloadavg()[0])


def finished(client: Client, task_id: str) -> Json:
    """Wait for a task's end, and return the task. Raise AssertionError after FINISHED_SECONDS."""
    deadline = time.monotonic() + FINISHED_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        asked = time.monotonic()
        task = client.task(task_id, wait=25)
        if task["terminal"]:
            return task
        if time.monotonic() - asked < POLL_SECONDS:
            pause.wait(POLL_SECONDS)
    raise AssertionError(f"still not finished after {FINISHED_SECONDS} s: {task_id}")


def moment(text: Any) -> float:
    """Convert a time of the API's answers to seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
