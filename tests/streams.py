"""`python -m tests.streams --streams 200` lets 200 clients follow the events of one task on the real runtime.

The program prints how long after the task's end the last client received the end. A run takes half a minute on a busy
machine. With `--idle 60` the clients follow a task to which nothing happens for 60 seconds, and the program prints the
processor time that one stream would cost in an hour.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import httpx

from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.event_streams import Received, events_of
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer
from tests.support.processor_time import cpu_seconds

CHUNKS = 24
WANTED = ["status", "status", *["chunk"] * CHUNKS, "status", "end"]


async def follow(http: httpx.AsyncClient, path: str) -> tuple[list[str], float]:
    async with http.stream("GET", path) as answer:
        lines = [line async for line in answer.aiter_lines()]
    return [each.name for each in events_of(lines) if isinstance(each, Received)], time.monotonic()


async def follow_all(url: str, path: str, streams: int) -> list[tuple[list[str], float]]:
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=streams)) as http:
        return await asyncio.gather(*(follow(http, path) for _ in range(streams)))


async def hold(url: str, path: str, streams: int, seconds: float) -> None:
    async with httpx.AsyncClient(
        base_url=url, timeout=seconds + 30, limits=httpx.Limits(max_connections=streams)
    ) as http:
        followers = [asyncio.create_task(follow(http, path)) for _ in range(streams)]
        await asyncio.wait(followers, timeout=seconds)
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)


def idle(streams: int, seconds: float, plan: str) -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(3_600.0))) as model,
        DevServer(
            Path(folder), *openai(model.base_url, PLAN=plan, AI_TIMEOUT_SECONDS=600, LEASE_SECONDS=900)
        ) as server,
        Client(server.url) as client,
    ):
        task = client.submit(paragraphs(1), chunk={"maxChars": 40})
        time.sleep(30)  # after this pause the streams read as rarely as they ever do
        marks = [cpu_seconds(server.process.pid)]
        time.sleep(seconds)
        marks.append(cpu_seconds(server.process.pid))
        asyncio.run(hold(server.url, task["links"]["events"], streams, seconds))
        marks.append(cpu_seconds(server.process.pid))
    least, most = (after - before for before, after in pairwise(marks))
    print(f"PLAN={plan}, {seconds:.0f} s: {most:.2f} s of processor time with {streams} streams, {least:.2f} s without")
    print(f"an hour of a stream: {(most - least) / streams / seconds * 3_600 * 1_000:.0f} ms")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--idle", type=float, help="seconds for which they follow a task to which nothing happens")
    parser.add_argument("--plan", choices=("free", "paid"), default="paid", help="with --idle")
    given = parser.parse_args()
    return idle(given.streams, given.idle, given.plan) if given.idle else busy(given.streams)


def busy(streams: int) -> int:
    """Let the clients follow a task of 24 chunks to its end. Return the exit status."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(2.0))) as model,
        DevServer(Path(folder), *openai(model.base_url, PLAN="paid")) as server,
        Client(server.url) as client,
    ):
        task = client.submit(paragraphs(CHUNKS), chunk={"maxChars": 40})
        began = time.monotonic()
        followed = asyncio.run(follow_all(server.url, task["links"]["events"], streams))
        done = client.finished(task["id"])
        broken = [names for names, _ in followed if [name for name in names if name != "progress"] != WANTED]
        last = max(at for _, at in followed) - began
        calls = [line for line in server.lines if '"event":"stream_closed"' in line]
    print(f"{streams} streams, {len(broken)} without each event once; the last ended after {last:.1f} s")
    print(f"task {done['status']}: {done['createdAt']} to {done['finishedAt']}; {len(calls)} streams closed in the log")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
