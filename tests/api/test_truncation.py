"""An output that the model cut off is marked in its chunk, in its task, in the list and in the log."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from src.kernel.calls.openai import OpenAIProvider
from src.kernel.calls.protocol import HttpReply, Provider
from src.kernel.calls.workers_ai import OUTPUT_TOKENS, WorkersAIProvider
from src.kernel.domain.task import Route
from src.kernel.run.log import Log
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, data, key
from tests.support.invocations import new_worker
from tests.support.scripted_model import NoGateway

# For each chunk's text, the finish reason that the model gives for its output.
ENDS = {"one": "stop", "two": "length", "three": "content_filter", "four": "length"}
TEXT = "\n\n".join(f"{name:8}" for name in ENDS)


def choice(text: str) -> Mapping[str, object]:
    reason = ENDS[text.strip()]
    content = None if reason == "content_filter" else f"of {text.strip()}"
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def own_shape(text: str) -> Mapping[str, object]:
    """Return Workers AI's older answer: only the count of tokens shows that it was cut off."""
    cut = ENDS[text.strip()] == "length"
    usage = {"prompt_tokens": 3, "completion_tokens": OUTPUT_TOKENS if cut else 2}
    return {"response": f"of {text.strip()}", "usage": usage}


class Server:
    async def request(self, method: Literal["GET", "POST"], url: str, **sent: Any) -> HttpReply:
        return HttpReply(200, {}, json.dumps(choice(json.loads(sent["body"])["messages"][1]["content"])).encode())


class Binding(NoGateway):
    """A binding of Workers AI that answers in one of its two shapes."""

    def __init__(self, shape: Callable[[str], object]) -> None:
        self._shape = shape

    async def run(self, model: str, inputs: dict[str, Any]) -> object:
        return self._shape(inputs["messages"][1]["content"])


def openai() -> Provider:
    return OpenAIProvider(Server(), base_url="http://m/v1", api_key=None, model=None)


def workers_ai(shape: Callable[[str], object]) -> Provider:
    return WorkersAIProvider(Binding(shape), model=None, timeout_seconds=5)


PROVIDERS: dict[str, tuple[Callable[[], Provider], list[str | None]]] = {
    "an OpenAI-compatible server": (openai, list(ENDS.values())),
    "Workers AI, a chat completion": (lambda: workers_ai(choice), list(ENDS.values())),
    "Workers AI, its own shape": (lambda: workers_ai(own_shape), [None, "length", None, "length"]),
}


@pytest.mark.parametrize(("make", "reasons"), PROVIDERS.values(), ids=PROVIDERS)
def test_a_cut_output_is_marked_wherever_it_is_shown(make: Callable[[], Provider], reasons: list[str | None]) -> None:
    provider = make()
    bench = ApiBench(provider=provider)
    task = bench.submit(TEXT)
    log = Log(bench.log_lines.append)
    worker = new_worker(bench.database, provider=provider, settings=bench.settings, log=log)
    bench.run(asyncio.wait_for(worker.run(key(task["id"]), Host(Route.QUEUE, 600.0)), 60))

    truncated = sum(reason in {"length", "content_filter"} for reason in reasons)
    shown = data(bench.call("GET", f"{task['links']['self']}?include=chunks"))
    assert (shown["status"], shown["progress"]["truncated"]) == ("completed", truncated)
    assert [chunk["finishReason"] for chunk in shown["chunks"]] == reasons
    outputs = ["" if reason == "content_filter" else f"of {text}" for text, reason in zip(ENDS, reasons, strict=True)]
    assert [chunk["output"] for chunk in shown["chunks"]] == outputs
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert listed["progress"]["truncated"] == truncated
    lines = [json.loads(line) for line in bench.log_lines]
    said = {int(chunk): reason for line in lines for chunk, reason in line.get("truncated", {}).items()}
    assert said == {index: reason for index, reason in enumerate(reasons) if reason in {"length", "content_filter"}}
    bench.close()
