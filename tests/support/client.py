"""A client of the API for tests on the real runtime."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Self

import httpx

from tests.support.dev_server import eventually

Json = dict[str, Any]
CHAT = "/v1/chat/completions"
BATCH_ENDS = frozenset({"completed", "failed", "expired", "cancelled"})


class Client:
    def __init__(self, url: str, key: str = "") -> None:
        self.http = httpx.Client(base_url=url, timeout=60)
        if key:
            self.http.headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.http.close()

    def submit(self, text: str, **fields: object) -> Json:
        answer = self.http.post("/api/tasks", json={"input": text, **fields})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def task(self, task_id: str, **query: str | float) -> Json:
        answer = self.http.get(f"/api/tasks/{task_id}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def chunks(self, task_id: str) -> list[Json]:
        answer = self.http.get(f"/api/tasks/{task_id}/chunks")
        assert answer.status_code == 200, answer.text
        return answer.json()["chunks"]

    def start_batch(self, content: str | bytes, **fields: object) -> Json:
        """Upload a file of lines, and start its batch."""
        sent = self.http.post("/v1/files", files={"file": ("a.jsonl", content)}, data={"purpose": "batch"})
        assert sent.status_code == 200, sent.text
        body = {"input_file_id": sent.json()["id"], "endpoint": CHAT, "completion_window": "24h", **fields}
        made = self.http.post("/v1/batches", json=body)
        assert made.status_code == 200, made.text
        return made.json()

    def batch(self, batch_id: str) -> Json:
        return self.http.get(f"/v1/batches/{batch_id}").raise_for_status().json()

    def ended_batch(self, batch_id: str, statuses: Collection[str] = BATCH_ENDS, seconds: float = 120) -> Json:
        """Return a batch once it has one of some statuses, by default those of an ended batch."""
        found = eventually(
            lambda: shown if (shown := self.batch(batch_id))["status"] in statuses else None, seconds, pause=0.3
        )
        assert found is not None
        return found

    def finished(self, task_id: str, seconds: float = 60) -> Json:
        for _ in range(max(1, round(seconds / 5))):
            task = self.task(task_id, wait=5)
            if task["terminal"]:
                return task
        raise AssertionError(f"still {task['status']} after {seconds} s: {task}")


def variables(values: Mapping[str, object]) -> list[str]:
    return [part for name, value in values.items() for part in ("--var", f"{name}:{value}")]


def openai(base_url: str, **more: object) -> list[str]:
    return variables({"AI_PROVIDER": "openai", "AI_BASE_URL": base_url, "AI_API_KEY": "test-key", **more})


def line_of_batch(custom_id: str, text: str, model: str = "m") -> str:
    """Return a line of a batch's file that asks for a chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}) + "\n"


def paragraphs(count: int, tag: str = "part") -> str:
    return "\n\n".join(f"{tag} {number:03} of a text for the test." for number in range(count))
