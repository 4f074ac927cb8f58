"""Measures how long a task takes and what it costs on each route of the local runtime.

Chunks have 6,000 characters, and outputs have 1,000. The time is measured with English tasks. The costs are measured
with tasks in both languages, and with model calls of different lengths.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random

from bench.figures import Figure
from bench.prose import LANGUAGES, OUTPUT_CHARS, Prose, english, text_of
from tests.support.client import Client, Json, openai
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer

ROUTES = {"queue": (), "durable-object": ("--env", "free"), "direct": ("--env", "direct")}
IDEAL_MS = 800
TIMES = 11  # how often the task runs whose time is measured
# Each key is a range of call times in seconds, in which the time of each call is drawn by the call's text. Each value
# is how many rows a task of 20 chunks may write with such calls.
SPREADS = {(4.5, 5.5): 20, (2.0, 10.0): 32}


class Lengths:
    """Sets the times of model calls: a time drawn from the range `spread`, or the model server's own if it is None."""

    spread: tuple[float, float] | None = None

    def decide(self, call: Call) -> Behaviour:
        """Answer a call with prose, after a time drawn from `spread` if it is set."""
        answer = said(call)
        if self.spread is None:
            return answer
        return replace(answer, delay_seconds=Random(call.user).uniform(*self.spread))  # noqa: S311


def measure(times: int = TIMES, spreads: Mapping[tuple[float, float], int] = SPREADS) -> list[Figure]:
    """Run the same tasks on each route, with a model server that takes 200 ms for a call.

    The task whose time is measured runs `times` times, and a task with calls of different lengths for each spread.
    """
    figures: list[Figure] = []
    lengths = Lengths()
    for route, flags in ROUTES.items():
        with (
            tempfile.TemporaryDirectory() as state,
            ModelServer(api_key="test-key", latency_seconds=0.2, plan=Plan(decide=lengths.decide)) as model,
            DevServer(Path(state), *flags, *openai(model.base_url)) as server,
            Client(server.url) as client,
        ):
            figures += _route(route, server, client, times)
            # After a submission on any other route, the task continues in the next cron run, whose cost would be
            # measured too.
            if route != "direct":
                figures += _uneven(route, server, client, lengths, spreads)
    return figures


def said(call: Call) -> Behaviour:
    """Return prose in the language of the call's text, different for each text."""
    prose = LANGUAGES["Chinese" if max(call.user) >= "\u4e00" else "English"]
    return ok(prose(Random(call.user), OUTPUT_CHARS))  # noqa: S311


def _route(route: str, server: DevServer, client: Client, count: int) -> list[Figure]:
    _run(client, 6)
    times = sorted(_elapsed_ms(_run(client, 24)) for _ in range(count))
    figures = [
        Figure(f"{route}: 24 chunks at 200 ms, median ÷ ideal", times[len(times) // 2] / IDEAL_MS, "×", 1.1),
        Figure(f"{route}: 24 chunks at 200 ms, median", times[len(times) // 2], "ms"),
    ]
    for language, prose in LANGUAGES.items():
        rows, calls = _costs(server, _run(client, 20, prose)["id"], route)
        figures += [
            Figure(f"{route}: 20 chunks, {language}, D1 rows written", rows, "rows", 20),
            Figure(f"{route}: 20 chunks, {language}, D1 calls", calls, "calls", 8),
        ]
    return figures


def _uneven(
    route: str, server: DevServer, client: Client, lengths: Lengths, spreads: Mapping[tuple[float, float], int]
) -> list[Figure]:
    figures: list[Figure] = []
    for spread, rows_most in spreads.items():
        lengths.spread = spread
        rows, calls = _costs(server, _run(client, 20)["id"], route)
        what = f"{route}: 20 chunks, calls of {spread[0]:g} to {spread[1]:g} s"
        figures += [
            Figure(f"{what}, D1 rows written", rows, "rows", rows_most),
            Figure(f"{what}, D1 calls, looks included", calls, "calls"),
        ]
    lengths.spread = None
    return figures


def _run(client: Client, chunks: int, prose: Prose = english) -> Json:
    task = client.finished(client.submit(text_of(prose, Random(chunks), chunks))["id"])  # noqa: S311
    assert task["progress"]["total"] == chunks
    return task


def _elapsed_ms(task: Json) -> float:
    created, finished = (datetime.fromisoformat(task[name]) for name in ("createdAt", "finishedAt"))
    return (finished - created).total_seconds() * 1000


def _costs(server: DevServer, task_id: str, route: str) -> tuple[int, int]:
    def found() -> list[Json]:
        lines = [json.loads(line) for line in list(server.lines) if line.startswith('{"event"')]
        mine = [line for line in lines if line.get("task") == task_id]
        spent = [line for line in mine if line["event"] in {"accepted", "run_ended"}][-2:]
        is_whole = any(line.get("status") == "completed" for line in spent) and (route == "direct" or len(spent) == 2)
        return spent if is_whole else []

    spent = eventually(found)
    if route == "direct":  # the task took one invocation, so only the meter's last line belongs to the task
        spent = spent[-1:]
    return sum(line["rows_written"] for line in spent), sum(line["database_calls"] for line in spent)
