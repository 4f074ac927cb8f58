"""What the checks share: requests that are counted and timed, small tasks within a budget of calls, and cleaning."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx2

from ..connection import ApiClient, read_answer
from ..errors import ServerRefused, Unreachable
from ..shapes import Json
from ..submission import fresh_key
from .findings import NAME

SECONDS_MOST: Final = 600.0  # for all checks together, and the deadline of all that they make
UNAIDED_SECONDS: Final = 45.0  # for a bound route to end a task of one call: a queue holds a message for up to 30 s
PARTS: Final = "\n\n".join(f"Part {number} of a text that onceover verify sends. 一段短文。" for number in range(1, 7))
ONE: Final = PARTS.partition("\n\n")[0]


class NotRun(Exception):
    """Raised by a check that cannot run. The text says why."""


class Trial:
    """An examination that has begun: its deployment, its requests so far, and what it may still spend."""

    def __init__(self, api: ApiClient, calls_most: int) -> None:
        self.api = api
        self.clock, self.pause = time.monotonic, time.sleep
        self.name, self.began = fresh_key(), self.clock()
        self.requests, self.slowest = 0, 0.0
        self.trouble: list[str] = []  # answers with a status from 500 on
        self.calls = 0  # of the model, by the bills of the removed tasks
        self.model, self.calls_fail = "", False  # whether a task by one route has shown that calls fail
        self.dead: list[str] = []  # routes that carry nothing
        self.route = ""  # of tasks that could take any, if one is dead
        self.booked: int | None = None  # model calls in the sums of history at the beginning
        self._calls_left = calls_most

    @property
    def left(self) -> float:
        """How many seconds the examination may still take."""
        return SECONDS_MOST - (self.clock() - self.began)

    def send(self, method: str, path: str, *, seconds: float = 40.0, **sent: Any) -> httpx2.Response:
        """Send a request, and return its answer whatever its status. Raises Unreachable."""
        began, self.requests = self.clock(), self.requests + 1
        answer = self.api.send(method, path, seconds=seconds, **sent)
        self.slowest = max(self.slowest, self.clock() - began)
        if answer.status_code >= 500:
            kind = ", 1102: its CPU time was used up" if "error code: 1102" in answer.text else ""
            self.trouble.append(f"{method} {'/'.join(path.split('/')[:3])} got {answer.status_code}{kind}")
        return answer

    def get(self, path: str, **query: str) -> Json:
        """Read JSON. Raises Unreachable and ServerRefused."""
        return read_answer(self.send("GET", path, params=query or None))

    def scrape(self, name: str) -> list[int]:
        """Read the values of a metric. Raises NotRun if there are no metrics."""
        answer = self.send("GET", "/api/metrics")
        if not answer.is_success:
            raise NotRun(f"the metrics got {answer.status_code}")
        return [int(one) for one in re.findall(rf"^onceover_{name}(?:{{.*}})? (\d+)$", answer.text, re.MULTILINE)]

    def submission(self, calls: int, text: str = ONE, **fields: object) -> Json:
        """Return the body of a small task that needs so many calls. Raises NotRun if they are not left."""
        most = 2 * calls  # any may fail once
        if calls and self.calls_fail:
            raise NotRun("it needs model calls, and they fail")
        if self.left < UNAIDED_SECONDS:
            raise NotRun("the ten minutes are nearly over")
        if most > self._calls_left:
            raise NotRun(f"it needs up to {most} model calls, and {self._calls_left} of --calls are left")
        self._calls_left -= most
        named = {"metadata": {"name": NAME, "run": self.name}, "deadlineSeconds": SECONDS_MOST}
        return {"input": text, "chunk": {"maxChars": 60}, "maxModelCalls": most, **named, **fields}

    def submit(self, body: Json, key: str = "", route: str = "", seconds: float = 40.0) -> tuple[httpx2.Response, Json]:
        """Submit a task, perhaps by one route alone. Returns the answer and the task. Raises ServerRefused."""
        taken = route or self.route
        headers = {"Idempotency-Key": key or fresh_key()} | ({"X-Onceover-Route": taken} if taken else {})
        answer = self.send("POST", "/api/tasks", seconds=seconds, json=body, headers=headers)
        return answer, read_answer(answer)

    def upload(self, content: bytes, purpose: str) -> Json:
        """Upload a file."""
        self.requests += 1
        return self.api.upload("/v1/files", {"purpose": purpose}, f"{NAME} {self.name}", content)

    def look(self, task_id: str) -> Json:
        """Read a task from the list, which helps no task along, unlike a poll with `wait`."""
        found: list[Json] = self.get("/api/tasks", q=task_id)["tasks"]
        if not found:
            raise ServerRefused(404, {"code": "not_found", "detail": "an accepted task is not in the list"})
        return found[0]

    def unaided(self, task_id: str, seconds: float) -> Json:
        """Watch a task without helping it, until it ends or the seconds are over."""
        until = self.clock() + min(seconds, self.left)
        while not (task := self.look(task_id))["terminal"] and self.clock() < until:
            self.pause(1.0)
        return task

    def ended(self, task_id: str, seconds: float = 90.0) -> Json:
        """Poll a task until it ends or the seconds are over."""
        until = self.clock() + min(seconds, self.left)
        while not (task := self.get(f"/api/tasks/{task_id}", wait="10"))["terminal"] and self.clock() < until:
            self.pause(0.2)  # if `wait` does not hold the answer
        return task

    def made(self, before: datetime | None = None) -> Iterator[tuple[str, str, Json]]:
        """Find what this run has made, or any run before a time: the kind, the path and the row of each."""
        query = {"q": NAME, "limit": "100"} | ({} if before is None else {"createdBefore": before.isoformat()})
        cursor: str | None = ""
        while cursor is not None:
            page = self.get("/api/tasks", **query | ({"cursor": cursor} if cursor else {}))
            for task in page["tasks"]:
                named: Mapping[str, object] = task["metadata"]
                if named.get("name") == NAME and (before is not None or named.get("run") == self.name):
                    yield "task", f"/api/tasks/{task['id']}", task
            cursor = page["nextCursor"]
        wanted = f"{NAME} {self.name}" if before is None else f"{NAME} "
        for kind, path, field in (("file", "/v1/files", "filename"), ("endpoint", "/v1/webhook_endpoints", "name")):
            for one in self.get(path, limit="100")["data"]:
                if str(one[field]).startswith(wanted) and (before is None or one["created_at"] < before.timestamp()):
                    yield kind, f"{path}/{one['id']}", one

    def clean(self, *, earlier: bool) -> int:
        """Remove what this run has made, or what runs that began over ten minutes ago left. Returns how much."""
        found = list(self.made(datetime.now(UTC) - timedelta(seconds=SECONDS_MOST) if earlier else None))
        for kind, path, row in found:  # tasks first, because a file may be in use until its task is gone
            self.calls += row["usage"]["modelCalls"] if kind == "task" and not earlier else 0
            with suppress(Unreachable):
                self.send("DELETE", path)
        return len(found)
