"""Tests on the real runtime that a joined value of very many items neither stops its isolate nor fills its memory."""

import json
import threading
import time
from pathlib import Path

import pytest

from tests.support import metered
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import Behaviour, Call, Plan, ok
from tests.support.model_server import ModelServer
from tests.support.tiers import sized

pytestmark = pytest.mark.runtime

# The campaign has the 150 chunks with which one read took 36 s, and WebAssembly's memory was 248 MB.
CHUNKS, ITEMS = sized(quick=16, test=16, campaign=150), 21_000
HEAP_MB_MOST = 110  # of which Python alone takes 46
SCHEMA = {
    "type": "object",
    "properties": {"l": {"type": "array", "items": {"type": "integer"}}},
    "required": ["l"],
    "additionalProperties": False,
}


def numbers(call: Call) -> Behaviour:
    first = 1_000_000 + ITEMS * int(call.user.split()[1])
    return ok(json.dumps({"l": list(range(first, first + ITEMS))}))


def test_a_union_of_very_many_items_stops_nobody(tmp_path: Path) -> None:
    """While a union of very many items is read, others are answered, and memory is bounded."""
    with (
        ModelServer(api_key="test-key", plan=Plan(decide=numbers)) as model,
        DevServer(tmp_path, *openai(model.base_url, PLAN="paid", REQUIRE_KEYS="true"), "--limits", "paid") as server,
        Client(server.url, insert_key(tmp_path, "large")) as reader,
        Client(server.url, insert_key(tmp_path, "other")) as other,
    ):
        task = reader.submit(
            paragraphs(CHUNKS), chunk={"maxChars": 40}, outputSchema=SCHEMA, join={"/l": "union"}, metadata={"a": 1}
        )
        path = f"/api/tasks/{task['id']}"
        mine = other.submit("The only sentence of this text.", chunk={"maxChars": 40})

        def done() -> bool:
            listed = reader.http.get("/api/tasks").json()["tasks"]
            return listed[0]["status"] == "completed"

        eventually(done, seconds=300, pause=0.5)
        read: list[tuple[float, bytes]] = []

        def reads() -> None:
            began = time.monotonic()
            answer = reader.http.get(path, timeout=600)
            read.append((time.monotonic() - began, answer.content))

        thread = threading.Thread(target=reads)
        thread.start()
        waits: list[float] = []
        while thread.is_alive():
            began = time.monotonic()
            assert other.http.get(f"/api/tasks/{mine['id']}").status_code == 200
            waits.append(time.monotonic() - began)
        thread.join()
        (seconds, content) = read[0]
        result = json.loads(content)["result"]
        assert result["value"] == {"l": list(range(1_000_000, 1_000_000 + CHUNKS * ITEMS))}
        assert json.loads(result["output"]) == result["value"]
        heap = max(int(line["heap_mb"]) for line in metered.lines(server))
        print(f"read {seconds:.1f} s; {len(waits)} calls, the longest {max(waits):.2f} s; heap {heap} MB")
        assert max(waits) < seconds / 5
        assert heap <= HEAP_MB_MOST
