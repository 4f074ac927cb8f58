"""Tests that the event loop runs ready callbacks, however many they are, in the order in which they became ready."""

from pathlib import Path

import httpx
import pytest

from tests.support.dev_server import DevServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
HANDLES = 3_000
# With this door, each of many callbacks adds another callback; the added ones must run after all of the first ones. The
# callback that JavaScript adds after the first callback has run must also run after all of the first callbacks. The
# test makes another request first, so that the Worker's event loop has read its settings.
DOOR = """
import asyncio as _asyncio
import json as _json

import js as _js
from pyodide.ffi import create_once_callable as _once
from workers import Response as _Response


class Default(Default):
    async def fetch(self, request):
        if not str(request.url).endswith("/_test/order"):
            return await super().fetch(request)
        loop, order, done = _asyncio.get_running_loop(), [], _asyncio.Event()

        def run(number):
            order.append(number)
            if number == 0:
                _js.queueMicrotask(_once(lambda: loop.call_soon(order.append, "new")))
            if number < %d:
                loop.call_soon(run, number + %d)
            if number == 2 * %d - 1:
                done.set()

        for number in range(%d):
            loop.call_soon(run, number)
        await done.wait()
        return _Response(_json.dumps(order))
""".replace("%d", str(HANDLES))


def test_more_than_a_thousand_ready_handles_keep_their_order(tmp_path: Path):
    """3,000 callbacks that are ready run in order. Earlier code ran some of them through timers, and newer callbacks
    overtook these."""
    project = write_wired_worker(tmp_path / "project", DOOR)
    with DevServer(tmp_path / "state", project=project) as server:
        httpx.get(f"{server.url}/api/async-status", timeout=20)
        order = httpx.get(f"{server.url}/_test/order", timeout=60).json()
    assert order[:HANDLES] == list(range(HANDLES))
    assert [number for number in order if number != "new"] == list(range(2 * HANDLES))
