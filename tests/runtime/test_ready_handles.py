"""Ready handles of the event loop run in the order in which they became ready, however many there are."""

from pathlib import Path

import httpx
import pytest

from tests.support.dev_server import DevServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
HANDLES = 3_000
# Each of many handles adds another, so those come behind all of the first. The Worker has answered a request before:
# its event loop is as its settings want it.
DOOR = """
import asyncio as _asyncio
import json as _json

from workers import Response as _Response


class Default(Default):
    async def fetch(self, request):
        if not str(request.url).endswith("/_test/order"):
            return await super().fetch(request)
        loop, order, done = _asyncio.get_running_loop(), [], _asyncio.Event()

        def run(number):
            order.append(number)
            if number < %d:
                loop.call_soon(run, number + %d)
            if len(order) == 2 * %d:
                done.set()

        for number in range(%d):
            loop.call_soon(run, number)
        await done.wait()
        return _Response(_json.dumps(order))
""".replace("%d", str(HANDLES))


def test_more_than_a_thousand_ready_handles_keep_their_order(tmp_path: Path):
    """Beyond a thousand some took timers, and newer ones overtook them."""
    project = write_wired_worker(tmp_path / "project", DOOR)
    with DevServer(tmp_path / "state", project=project) as server:
        httpx.get(f"{server.url}/api/async-status", timeout=20)
        order = httpx.get(f"{server.url}/_test/order", timeout=60).json()
    assert order == list(range(2 * HANDLES))
