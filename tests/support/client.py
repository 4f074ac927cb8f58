"""A client of the API for tests on the real runtime."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

Json = dict[str, Any]


class Client:
    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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


def paragraphs(count: int, tag: str = "part") -> str:
    return "\n\n".join(f"{tag} {number:03} of a text for the test." for number in range(count))
