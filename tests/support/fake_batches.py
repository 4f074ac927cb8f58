"""A scripted server that offers the calls for batches: files, batches, and an output file that grows."""

import json
import re
from typing import Any

from tests.support.fake_api import TASK_ID, Answer, Asked, FakeApi

BATCH_ID = f"batch_{TASK_ID.replace('-', '')}"
OUTPUT, ERRORS = "file-" + "a" * 32, "file-" + "e" * 32
Json = dict[str, Any]


def output_line(number: int) -> str:
    return json.dumps({"id": f"batch_req_{number}", "custom_id": f"line-{number}"}) + "\n"


def batch(status: str = "validating", done: int = 0, failed: int = 0, total: int = 4, **more: Any) -> Json:
    is_begun = status not in {"validating", "failed"}
    return {
        "id": BATCH_ID,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": "demo",
        "errors": None,
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": status,
        "output_file_id": OUTPUT if is_begun else None,
        "error_file_id": ERRORS if failed else None,
        "created_at": 1_795_600_100,
        "request_counts": {"total": total if is_begun else 0, "completed": done, "failed": failed},
        "usage": {"input_tokens": 40, "output_tokens": 4, "total_tokens": 44},
        "metadata": {},
        "onceover": {
            "task": f"/api/tasks/{TASK_ID}",
            "usage": {"modelCalls": done, "minimumCalls": total if is_begun else 0, "inDoubt": 0},
        },
        **more,
    }


class FakeBatches:
    """Serves one batch, which has the next of its states at each read."""

    def __init__(self, fake: FakeApi, *states: Json) -> None:
        self.fake = fake
        self.files: list[Json] = []
        self.batches: list[Json] = []
        self.states = list(states)
        self.lines = 0  # How many lines the output file has.
        fake.on("GET", "/v1/files", lambda asked: self._list(self.files))
        fake.on("GET", "/v1/batches", lambda asked: self._list(self.batches))
        fake.on("POST", "/v1/files", self._upload)
        fake.on("POST", "/v1/batches", self._create)
        fake.on("GET", f"/v1/batches/{BATCH_ID}", self._read)
        fake.on("GET", f"/v1/files/{OUTPUT}/content", self._content)
        fake.on("GET", f"/v1/files/{ERRORS}/content", Answer(body=b'{"custom_id": "x"}\n'))

    @staticmethod
    def _list(found: list[Json]) -> Json:
        return {"object": "list", "data": found, "has_more": False}

    def _upload(self, asked: Asked) -> Json:
        found = re.search(rb'filename="([^"]+)"', asked.body)
        assert found is not None
        sent = asked.body[found.end() :].partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
        made = {"id": "file-1", "filename": found[1].decode(), "bytes": len(sent), "created_at": 1_795_600_000}
        self.files.append(made)
        return made

    def _create(self, asked: Asked) -> Json:
        made = batch(endpoint=asked.body["endpoint"], metadata=asked.body.get("metadata", {}))
        self.batches.insert(0, made)
        return made

    def _read(self, _asked: Asked) -> Json:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        self.lines = state["request_counts"]["completed"]
        return state

    def _content(self, asked: Asked) -> Answer:
        first, most = int(asked.query.get("offset", "0")), int(asked.query.get("limit", "2"))
        behind = max(first, min(first + most, self.lines))
        content = "".join(map(output_line, range(first, behind))).encode()
        return Answer(body=content, headers={"X-Last-Line": str(min(behind, self.lines)), "X-Incomplete": "true"})
