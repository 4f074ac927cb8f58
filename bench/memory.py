"""`python -m bench.memory`: how much memory the Worker's isolate takes at most, under all that it can be asked at once.

Twelve uploads of 50 MB, six batches with lines and answers of 900 KB, and a poll of a result of 20 MB begin at the same
moment. What the isolate has no memory for is refused with 503. Then each is asked for alone, and must be served.

JavaScript's part is sampled through workerd's inspector: its heap and its buffers. WebAssembly's memory never shrinks,
so the meter's last line has its high-water mark.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from local.node import find_node
from tests.support import metered
from tests.support.client import openai
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Call, Plan, ok
from tests.support.model_server import ModelServer

HERE = Path(__file__).parent
CHAT = "/v1/chat/completions"
ISOLATE = "core:user:onceover"
UPLOADS, UPLOAD_MB = 12, 50
BATCHES, LINES, LINE_CHARS = 6, 8, 900_000
CHUNKS, OUTPUT_CHARS = 100, 200_000  # a result of 20 MB
GOAL_MB = 110


class Figures(dict[str, float]):
    """The high-water marks in MB: `wasm`, `heap` and `buffers` of JavaScript, both `together`, and `all`."""


def measure() -> tuple[Figures, Counter[int], list[int]]:
    """Ask for everything at once, then for each alone.

    Returns the high-water marks, how often uploads and the poll got which status, and the statuses of those alone.
    """
    plan = Plan(decide=_answer)
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelServer(api_key="test-key", plan=plan, latency_seconds=0.2) as model,
    ):
        flags = (*openai(model.base_url, AI_MODEL="m", PLAN="paid"), "--limits", "paid", "--cron-every", "1")
        address = f"127.0.0.1:{_free_port()}"
        with DevServer(Path(folder), *flags, environ={"ONCEOVER_INSPECTOR": address}) as server:
            task, inputs = _large_task(server), [_upload(server, _lines()).json()["id"] for _ in range(BATCHES)]
            content = bytes(UPLOAD_MB * 1_000_000)
            asks: list[Callable[[], httpx.Response]] = [
                *(lambda file=file: _batch(server, file) for file in inputs),
                *[lambda: _upload(server, content)] * UPLOADS,
                lambda: httpx.get(f"{server.url}{task}", timeout=600),
            ]
            with _sampled(address) as marks:
                replies = _together(asks)
                started = [reply.raise_for_status().json()["id"] for reply in replies[:BATCHES]]
                for batch in started:
                    eventually(lambda: _is_done(server, batch), seconds=1_200, pause=0.5)  # noqa: B023 - called at once
                alone = [ask().status_code for ask in asks[BATCHES - 1 :: UPLOADS]]
            wasm = max(line["heap_mb"] for line in metered.lines(server))
    figures = Figures({name: marks[name] / 1e6 for name in ("heap", "buffers", "together")}, wasm=wasm)
    figures["all"] = figures["together"] + wasm
    return figures, Counter(reply.status_code for reply in replies[BATCHES:]), alone


@contextmanager
def _sampled(address: str) -> Iterator[dict[str, int]]:
    """Sample JavaScript's memory. The high-water marks are there at the end."""
    command = [str(find_node()), str(HERE / "heap_usage.mjs"), address, ISOLATE]
    found: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sampler:
        assert sampler.stdout is not None
        assert sampler.stdin is not None
        assert sampler.stdout.readline() == "open\n"
        yield found
        sampler.stdin.close()
        found.update(json.loads(sampler.stdout.read()))


def _answer(call: Call) -> Any:
    text = "".join(call.user)
    return ok("z" * (OUTPUT_CHARS if text.startswith("part") else LINE_CHARS))


def _large_task(server: DevServer) -> str:
    """Make a task with a large result, and return its path after its end."""
    text = "\n\n".join(f"part {number} {'w' * 1_000}" for number in range(CHUNKS))
    body = {"input": text, "chunk": {"maxChars": 1_100}}
    made = httpx.post(f"{server.url}/api/tasks", json=body, timeout=60).raise_for_status().json()
    path: str = made["links"]["self"]

    def has_ended() -> bool:
        tasks = httpx.get(f"{server.url}/api/tasks?limit=1", timeout=60).json()["tasks"]
        return bool(tasks[0]["status"] == "completed")

    eventually(has_ended, seconds=600, pause=1)
    return path


def _lines() -> bytes:
    def body(number: int) -> dict[str, object]:
        return {"model": "m", "messages": [{"role": "user", "content": f"text {number} {'y' * LINE_CHARS}"}]}

    lines = ({"custom_id": f"r-{n}", "method": "POST", "url": CHAT, "body": body(n)} for n in range(LINES))
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _upload(server: DevServer, content: bytes) -> httpx.Response:
    form = {"file": ("a.jsonl", content)}
    return httpx.post(f"{server.url}/v1/files", files=form, data={"purpose": "batch"}, timeout=600)


def _batch(server: DevServer, file: str) -> httpx.Response:
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "1h"}
    return httpx.post(f"{server.url}/v1/batches", json=body, timeout=600)


def _is_done(server: DevServer, batch: str) -> bool:
    found = httpx.get(f"{server.url}/v1/batches/{batch}", timeout=600).raise_for_status().json()
    assert found["status"] != "failed", found
    return bool(found["status"] == "completed" and found["request_counts"]["completed"] == LINES)


def _together(asks: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    found: dict[int, httpx.Response] = {}

    def ask(number: int) -> None:
        found[number] = asks[number]()

    threads = [Thread(target=ask, args=(number,)) for number in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(asks))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Print the figures. Returns 1 above the goal, or if one alone was refused."""
    begun = time.monotonic()
    figures, statuses, alone = measure()
    print(f"WebAssembly {figures['wasm']:.0f} MB")
    print(f"JavaScript {figures['together']:.0f} MB: heap {figures['heap']:.0f}, buffers {figures['buffers']:.0f}")
    print(f"together {figures['all']:.0f} MB, goal {GOAL_MB}")
    print(f"at once: {UPLOADS} uploads and a poll got {dict(statuses)}; alone: {alone}")
    print(f"{time.monotonic() - begun:.0f} s")
    return 0 if figures["all"] < GOAL_MB and set(alone) == {200} else 1


if __name__ == "__main__":
    sys.exit(main())
