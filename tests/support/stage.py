"""Shows the dashboard's page in a browser without a server: a test decides the API's answers."""

import json
import mimetypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Request, Route

from tests.support.browser import Watched
from tests.support.dev_server import ROOT

PUBLIC = ROOT / "public"
URL = "http://localhost:9321"  # A browser treats a page at localhost as secure. No server listens here.
_SETTLED = f"{URL}/settled"  # The tests, not the page, request this address.
TASK_ID = "01a21072-0000-7000-8000-00000000000a"
BEGAN, ENDED = "2026-11-28T10:00:00.000Z", "2026-11-28T10:00:10.000Z"
type Answer = Callable[[Route], None] | Mapping[str, Any]
_SERVICE = {"status": "healthy", "service": "x", "architecture": "y", "backlog": None}
_QUEUE = {"hasAIQueue": True, "hasAIDLQ": True, "hasDurableObjects": True}
_MODEL = {"status": "healthy", "provider": "p", "model": "m", "checkedAt": BEGAN, "detail": ""}
# The additional fields of the request for a task with a schema.
SHAPE = {"outputSchema": {"type": "object"}, "strict": True, "join": {}, "onChunkFailure": "gap", "maxGapShare": 0.5}
HEALTH: dict[str, Answer] = {"/api/async-status": _SERVICE | {"queueCheck": _QUEUE}, "/api/ai-status": _MODEL}


@cache
def file(name: str) -> tuple[bytes | None, str]:
    path = PUBLIC / name
    return path.read_bytes() if path.is_file() else None, mimetypes.guess_type(name)[0] or "text/plain"


@cache
def headers() -> dict[str, str]:
    lines = (PUBLIC / "_headers").read_text().splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if line.startswith("  "))


def task(**changed: Any) -> dict[str, Any]:
    progress = {"total": 3, "completed": 3, "failed": 0, "truncated": 0}
    usage = {"modelCalls": 3, "minimumCalls": 3, "inDoubt": 0, "inputTokens": 30, "outputTokens": 60}
    request = {"model": "m", "reduce": "concat", "inputCharacters": 90, "maxOutputTokens": None, "temperature": None}
    request |= {"instructions": "", "modelOptions": {}, "chunk": {"maxChars": 30, "overlapChars": 0}}
    whole = {"id": TASK_ID, "status": "completed", "terminal": True, "route": "queue", "progress": progress}
    whole |= {
        "usage": usage,
        "request": request,
        "waitingFor": None,
        "result": None,
        "error": None,
        "lastError": None,
        "input": None,
    }
    whole |= {"attempts": 1, "metadata": {"name": "A name"}, "createdAt": BEGAN, "startedAt": BEGAN, "links": {}}
    whole |= {"finishedAt": ENDED, "expiresAt": None, "deadlineAt": None, "maxModelCalls": None}
    whole |= {"estimatedFinishAt": None, "calls": {"announcedAt": BEGAN, "out": [], "inDoubt": []}}
    return whole | changed


def shaped(value: object, **changed: Any) -> dict[str, Any]:
    """A completed task with this value, or list for `reduce: none`, and perhaps gaps."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    output = [None if one is None else json.dumps(one) for one in value] if isinstance(value, list) else text
    usage = task()["usage"] | {"reasks": 0, "rejected": 0, "repaired": 0}
    whole = task(result={"output": output, "value": value}, request=task()["request"] | SHAPE, usage=usage)
    return whole | {"coverage": 1.0, "gaps": []} | changed


def chunk(index: int, **changed: Any) -> dict[str, Any]:
    whole = {"index": index, "start": index * 30, "end": index * 30 + 30, "status": "completed", "output": "out"}
    whole |= {"attempts": 1, "error": None, "finishReason": "stop", "lane": None, "firstStartedAt": BEGAN}
    return whole | {"startedAt": BEGAN, "finishedAt": ENDED} | changed


def attempt(index: int, **changed: Any) -> dict[str, Any]:
    one = {"level": 0, "index": index, "number": 1, "outcome": "succeeded", "answered": True, "model": "m"}
    one |= {"route": "queue", "lane": None, "announcedAt": None, "startedAt": BEGAN, "finishedAt": ENDED}
    return one | {"milliseconds": 10_000, "code": None, "message": None} | changed


class Stage(Watched):
    """A page with `answers`, by path or method and path, else 404. `asked`: its requests."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        super().__init__(browser, URL, **options)
        self.answers: dict[str, Answer] = {"POST /api/tasks": {"minimumCalls": 1}}
        self.asked: list[tuple[str, str, Any]] = []
        self._headers = headers()
        self.context.route("**/*", self._answer)

    def _take_a_turn(self) -> None:
        """Make a request and wait for its answer: intercepted requests come in the order of the page's."""
        self.page.evaluate("async (address) => { await fetch(address); }", _SETTLED)

    def _asked(self, request: Request) -> None:
        if request.url != _SETTLED:
            super()._asked(request)

    def _answer(self, route: Route) -> None:
        if route.request.url == _SETTLED:
            route.fulfill(status=204)
            return
        url = urlsplit(route.request.url)
        if url.path.startswith(("/api/", "/v1/")):
            self._api(route, url.path, f"{url.path}?{url.query}" if url.query else url.path)
            return
        body, kind = file(url.path.removeprefix("/") or "index.html")
        if body is None:
            route.fulfill(status=404)
            return
        route.fulfill(body=body, headers=self._headers | {"Content-Type": kind})

    def _api(self, route: Route, path: str, whole: str) -> None:
        method = route.request.method
        self.asked.append((method, whole, route.request.post_data_json if route.request.post_data else None))
        answer = self.answers.get(f"{method} {path}", self.answers.get(path) if method == "GET" else None)
        if answer is None:
            refuse(route, 404, "not_found")
        elif callable(answer):
            answer(route)
        else:
            route.fulfill(json=dict(answer))


def refuse(route: Route, status: int, code: str) -> None:
    """Answer a request of the page with problem details."""
    problem = {"status": status, "code": code, "detail": "No."}
    route.fulfill(status=status, body=json.dumps(problem), headers={"Content-Type": "application/problem+json"})
