"""What a task costs and how long it takes on each route of the local runtime."""

import json
import tempfile
from datetime import datetime
from pathlib import Path

from bench.figures import Figure
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer

ROUTES = {"queue": (), "durable-object": ("--env", "free"), "direct": ("--env", "direct")}
IDEAL_MS = 800


def measure() -> list[Figure]:
    """Run the same tasks on each route against a model that takes 200 ms a call."""
    figures: list[Figure] = []
    for route, flags in ROUTES.items():
        with (
            tempfile.TemporaryDirectory() as state,
            ModelServer(api_key="test-key", latency_seconds=0.2) as model,
            DevServer(Path(state), *flags, *openai(model.base_url)) as server,
            Client(server.url) as client,
        ):
            figures += _route(route, server, client)
    return figures


def _route(route: str, server: DevServer, client: Client) -> list[Figure]:
    client.finished(client.submit(paragraphs(6), chunk={"maxChars": 40})["id"])
    times = sorted(_elapsed_ms(_run(client, 24)) for _ in range(11))
    rows, calls = _costs(server, _run(client, 20)["id"], route)
    return [
        Figure(f"{route}: 24 chunks at 200 ms, median ÷ ideal", times[len(times) // 2] / IDEAL_MS, "×", 1.1),
        Figure(f"{route}: 24 chunks at 200 ms, median", times[len(times) // 2], "ms"),
        Figure(f"{route}: 20 chunks, D1 rows written", rows, "rows", 20),
        Figure(f"{route}: 20 chunks, D1 calls", calls, "calls", 8),
    ]


def _run(client: Client, chunks: int) -> Json:
    return client.finished(client.submit(paragraphs(chunks), chunk={"maxChars": 40})["id"])


def _elapsed_ms(task: Json) -> float:
    created, finished = (datetime.fromisoformat(task[name]) for name in ("createdAt", "finishedAt"))
    return (finished - created).total_seconds() * 1000


def _costs(server: DevServer, task_id: str, route: str) -> tuple[int, int]:
    def found() -> list[Json]:
        lines = [json.loads(line) for line in list(server.lines) if line.startswith('{"event"')]
        mine = [line for line in lines if line.get("task") == task_id]
        return [line for line in mine if line["event"] in {"accepted", "run_ended"}][-2:] if len(mine) > 22 else []

    spent = eventually(found)
    if route == "direct":  # one invocation: its meter's last word
        spent = spent[-1:]
    return sum(line["rows_written"] for line in spent), sum(line["database_calls"] for line in spent)
