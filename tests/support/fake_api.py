"""An HTTP server that stands in for the API, without the Worker; a test decides its answers."""

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.loopback import Loopback, Quiet

Json = dict[str, Any]
TASK_ID = "01a213be-b263-762c-b9e4-99bccab77cf8"
LOST = "lost"  # Means that there is no answer: the server cuts the connection.


@dataclass(frozen=True)
class Asked:
    """A request that the server got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """An answer of the server. `stream` is sent in parts instead of `body`, and after that the connection is closed."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterable[str] | None = None


Reply = Answer | Json | str | Callable[[Asked], "Answer | Json | str"]


class FakeApi(Loopback):
    """The server, as a context manager. `on` sets a path's answers; the last one repeats."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._replies: dict[tuple[str, str], list[Reply]] = {}
        self._lock = threading.Lock()
        super().__init__(self._handler())

    def on(self, method: str, path: str, *replies: Reply) -> Self:
        self._replies[method, path] = list(replies)
        return self

    def requests(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def _next(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            replies = self._replies.get((asked.method, asked.path))
            if not replies:
                return Answer(404, {"code": "not_found", "detail": "The path or id does not exist.", "status": 404})
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(Quiet):
            def _answer(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, query, headers, _parsed(content, headers))
                reply = fake._next(asked)
                if callable(reply):
                    reply = reply(asked)
                if reply == LOST:
                    self.close_connection = True
                    return
                with suppress(ConnectionError):  # the client has left, as it may
                    self._send(reply if isinstance(reply, Answer) else Answer(body=reply))

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                if answer.stream is not None:
                    self.send_header("Content-Type", "text/event-stream")
                    self.end_headers()
                    for part in answer.stream:
                        self.wfile.write(part.encode())
                        self.wfile.flush()
                    self.close_connection = True
                    return
                content = _written(answer.body)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names of http.server

        return Handler


def _parsed(content: bytes, headers: dict[str, str]) -> Any:
    if headers.get("content-type", "").startswith("multipart/"):
        return content
    return json.loads(content) if content else None


def _written(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return b"" if body is None else json.dumps(body, ensure_ascii=False).encode()


def task(status: str = "completed", *, output: Any = "one\n\ntwo", **more: Any) -> Json:
    is_over = status in {"completed", "failed", "cancelled"}
    done = 2 if status == "completed" else 0
    made: Json = {
        "id": TASK_ID,
        "status": status,
        "terminal": is_over,
        "route": "queue",
        "progress": {"total": 2, "completed": done, "failed": 0, "truncated": 0},
        "waitingFor": None,
        "result": {"output": output} if status == "completed" else None,
        "error": None,
        "usage": {"modelCalls": done, "minimumCalls": 2, "inDoubt": 0, "inputTokens": 10, "outputTokens": 4},
        "attempts": 1,
        "metadata": {},
        "createdAt": "2026-11-25T10:00:00.000Z",
        "startedAt": "2026-11-25T10:00:01.000Z",
        "finishedAt": "2026-11-25T10:00:03.500Z" if is_over else None,
        "expiresAt": None,
        "deadlineAt": None,
        "maxModelCalls": None,
        "links": {"self": f"/api/tasks/{TASK_ID}"},
        "request": {"model": "demo-1", "reduce": "concat"},
        "lastError": None,
        "estimatedFinishAt": None,
    }
    return made | more


def failed(code: str) -> Json:
    return task("failed", error={"code": code, "message": "it did not work", "retryable": True})


def chunk(index: int, output: str) -> Json:
    start = index * 10
    return {
        "index": index,
        "start": start,
        "end": start + 10,
        "status": "completed",
        "output": output,
        "attempts": 1,
        "error": None,
        "finishReason": "stop",
    }


def problem(status: int, code: str, detail: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"type": "about:blank", "status": status, "code": code, "detail": detail or code}, named)


def event(name: str, data: Any, event_id: str | None = None) -> str:
    named = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{named}data: {json.dumps(data, ensure_ascii=False)}\n\n"
