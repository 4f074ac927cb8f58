"""A client of the API for tests on the real runtime."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

Json = dict[str, Any]


class Client:
    """A client of one running server."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.http.close()

    def submit(self, text: str, **fields: object) -> Json:
        """Submit a task, and fail if it is not accepted."""
        answer = self.http.post("/api/tasks", json={"input": text, **fields})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def task(self, task_id: str, **query: str | float) -> Json:
        """Read a task, and fail if it does not exist."""
        answer = self.http.get(f"/api/tasks/{task_id}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def chunks(self, task_id: str) -> list[Json]:
        """Read a task's finished chunks."""
        answer = self.http.get(f"/api/tasks/{task_id}/chunks")
        assert answer.status_code == 200, answer.text
        return answer.json()["chunks"]

    def finished(self, task_id: str, seconds: float = 60) -> Json:
        """Wait until a task has ended, and return the task."""
        for _ in range(max(1, round(seconds / 5))):
            task = self.task(task_id, wait=5)
            if task["terminal"]:
                return task
        raise AssertionError(f"still {task['status']} after {seconds} s: {task}")


def variables(values: Mapping[str, object]) -> list[str]:
    """Return the command line flags of `make dev` that set the given variables."""
    return [part for name, value in values.items() for part in ("--var", f"{name}:{value}")]


def openai(base_url: str, **more: object) -> list[str]:
    """Return the flags that make the Worker call an OpenAI-compatible server."""
    return variables({"AI_PROVIDER": "openai", "AI_BASE_URL": base_url, "AI_API_KEY": "test-key", **more})


def paragraphs(count: int, tag: str = "part") -> str:
    """Return a text of `count` paragraphs, each of which is one chunk if `chunk.maxChars` is 40."""
    return "\n\n".join(f"{tag} {number:03} of a text for the test." for number in range(count))
