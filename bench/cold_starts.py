"""Measures a cold start: workerd's processor time from its start to the first answer, which is that of a poll.

Beside the Worker the program measures a Worker of one line, which answers every request with a greeting. Both Workers
run on Cloudflare's own Python glue and start from a snapshot of the interpreter's memory. The Workers are measured in
turns, and only the ratio of the two times is comparable between machines.
"""

import statistics
import tempfile
from pathlib import Path

import httpx

from bench.figures import Figure
from bench.imports import START, Watch, project_of
from tests.support.client import Client
from tests.support.dev_server import DevServer

RUNS = 5
RATIO_MOST = 2.0
GREETING = """
from workers import DurableObject, Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("hello world")

class AIProcessor(DurableObject):
    pass

class BatchCoordinator(DurableObject):
    pass
"""


def measure(runs: int = RUNS) -> list[Figure]:
    """Start both Workers in turns, `runs` times each, and return the medians."""
    with tempfile.TemporaryDirectory() as folder:
        ours, hello = (project_of(Path(folder) / name, entry) for name, entry in (("ours", None), ("hello", GREETING)))
        path = _prepared(ours)
        _prepared(hello, has_tasks=False)
        pairs = [(_start(ours, path), _start(hello, path)) for _ in range(runs)]
    return [
        Figure(
            "cold start to the answer to a poll ÷ that of a greeting",
            statistics.median(mine / other for mine, other in pairs),
            "×",
            RATIO_MOST,
        ),
        Figure("cold start to the answer to a poll, processor time of workerd", _median(pairs, 0), "s"),
        Figure("cold start of a greeting, processor time of workerd", _median(pairs, 1), "s"),
    ]


def _median(pairs: list[tuple[float, float]], which: int) -> float:
    return statistics.median(pair[which] for pair in pairs)


def _prepared(project: Path, *, has_tasks: bool = True) -> str:
    """Make the snapshot of a Worker, and run a task. Return the path of the task."""
    with DevServer(project / "state", "--limits", "off", project=project) as server:
        if not has_tasks:
            return ""
        with Client(server.url) as client:
            return f"/api/tasks/{client.finished(client.submit('A text.')['id'])['id']}"


def _start(project: Path, path: str) -> float:
    """Start a Worker from its snapshot, and send one request. Return workerd's processor time in seconds."""
    server = DevServer(project / "state", "--limits", "off", project=project)
    with Watch(server) as watch, server:
        httpx.get(f"{server.url}{path}", timeout=60).raise_for_status()
        watch.look()
        return watch.cpu_seconds[START]
