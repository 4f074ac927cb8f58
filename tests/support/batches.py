"""Helpers for tests of batches: the lines of an input file, an upload, and a provider whose answers a test decides."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from src.features.demo.demo import DemoProvider
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.ids import TaskKey, task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Route
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, BenchRequest, data

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
Batch = dict[str, Any]


def line(custom_id: str, text: str = "Ada met Grace in London.", endpoint: str = CHAT, **body: object) -> str:
    said = {"messages": [{"role": "user", "content": text}]} if endpoint == CHAT else {"input": text}
    return json.dumps(
        {"custom_id": custom_id, "method": "POST", "url": endpoint, "body": {"model": "demo", **said, **body}}
    )


def lines(count: int, endpoint: str = CHAT) -> str:
    return "".join(line(f"line-{number}", f"Text number {number}.", endpoint) + "\n" for number in range(count))


def upload(bench: ApiBench, content: str | bytes, query: str = "", purpose: str = "batch", **headers: str) -> str:
    raw = content.encode() if isinstance(content, str) else content
    body = b"".join(
        (
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode() + b"\r\n",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + raw,
            b"\r\n--b--\r\n",
        )
    )
    sent = {"content-type": "multipart/form-data; boundary=b", "x-request-id": "bench", **headers}
    reply = bench.send(BenchRequest("POST", f"http://localhost:8787/v1/files{query}", sent, body))
    assert reply.status == 200, reply
    return str(data(reply)["id"])


def create(bench: ApiBench, content: str | bytes, **fields: object) -> Batch:
    body = {"input_file_id": upload(bench, content), "endpoint": CHAT, "completion_window": "24h", **fields}
    reply = bench.call("POST", "/v1/batches", body)
    assert reply.status == 200, reply
    made: Batch = data(reply)
    return made


def read(bench: ApiBench, batch_id: str) -> Batch:
    reply = bench.call("GET", f"/v1/batches/{batch_id}")
    assert reply.status == 200, reply
    found: Batch = data(reply)
    return found


def key_of(batch: Batch, tenant: str = "local") -> TaskKey:
    return task_key_of(tenant, str(batch["onceover"]["task"]).rpartition("/")[2])


def work(bench: ApiBench, batch: Batch, seconds: float) -> None:
    worker = replace(bench.worker, meter=Meter())
    bench.run(worker.run(key_of(batch), Host(Route.QUEUE, seconds)))
    bench.settle()


def run(bench: ApiBench, batch: Batch, seconds: float = 600.0, times: int = 20) -> Batch:
    for _ in range(times):
        work(bench, batch, seconds)
        found = read(bench, str(batch["id"]))
        if found["status"] in {"completed", "failed", "expired", "cancelled"}:
            return found
    return found


def content(bench: ApiBench, file_id: str, query: str = "") -> list[dict[str, Any]]:
    reply = bench.call("GET", f"/v1/files/{file_id}/content{query}")
    assert reply.status == 200, reply
    assert not reply.body or reply.body.endswith("\n")
    return [json.loads(one) for one in reply.body.splitlines()]


def ids(found: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(str(one["custom_id"]) for one in found)


class Scripted(DemoProvider):
    """A demo provider that first calls `before` with the text of each line, and answers after some seconds."""

    def __init__(self, before: Callable[[str], None], seconds: float = 0.0) -> None:
        super().__init__()
        self.before = before
        self.seconds = seconds

    async def infer(self, call: ModelCall) -> ModelReply:
        """Answer a call, or raise what `before` raises."""
        assert call.body is not None
        self.before(json.dumps(call.body))
        await asyncio.sleep(self.seconds)
        return await super().infer(call)


def refused(status: int, message: str, body: object = None) -> ModelRefused:
    return ModelRefused(message, of_call=True, answer=(status, body or {"error": {"message": message}}))
