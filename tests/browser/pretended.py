"""Answers of calls that not each deployment has, in the shapes of the API: a history, webhooks, deliveries."""

import json
import time
from typing import Any

from playwright.sync_api import Page, Route

ENDPOINT = {
    "id": "we_1",
    "object": "webhook_endpoint",
    "created_at": 1_790_000_000,
    "updated_at": 1_790_000_000,
    "name": "<b>Ledger</b>",
    "url": "https://example.com/hook",
    "event_types": ["task.completed", "task.failed"],
    "status": "enabled",
    "signing_secret_hint": "…abcd=",
}
SECRET = "whsec_" + "A" * 43 + "="
DELIVERY = {
    "id": "evt_1",
    "endpoint": "we_1",
    "type": "task.completed",
    "status": "pending",
    "createdAt": "2026-11-25T10:00:00.000Z",
    "nextAttemptAt": "2026-11-25T10:05:00.000Z",
    "tries": 2,
    "attempts": [
        {"at": "2026-11-25T10:00:01.000Z", "status": 503, "milliseconds": 31, "failure": "status"},
        {"at": "2026-11-25T10:01:01.000Z", "status": None, "milliseconds": 15_000, "failure": "timeout"},
    ],
}


def _rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def history(hours: int) -> dict[str, Any]:
    """The last hours, of which the middle is not known."""
    last = time.time() // 300 * 300
    steps = hours * 12
    known = [step for step in range(steps) if not steps // 3 < step < steps // 2]
    return {
        "hours": hours,
        "bucketSeconds": 300,
        "until": _rfc3339(last),
        "boundsMs": [500],
        "buckets": [_bucket(step, _rfc3339(last - (steps - 1 - step) * 300)) for step in known],
    }


def _bucket(step: int, at: str) -> dict[str, Any]:
    took = {"count": 9, "sumMs": 9000, "upTo": [1], "p50Ms": 900 + step * 7, "p95Ms": 2400 + step * 31 % 1900}
    return {
        "at": at,
        "completed": 5 + step % 7,
        "failed": step % 11 == 0,
        "cancelled": step % 17 == 0,
        "retries": step % 5 == 0,
        "deadLetters": step % 23 == 0,
        "modelCalls": 40,
        "inDoubt": step % 13 == 0,
        "fruitlessCalls": 0,
        "truncated": 0,
        "inputTokens": 1,
        "outputTokens": 1,
        "waited": took,
        "took": took,
        "backlog": {"pending": 20 + step % 9, "processing": 4 + step % 3, "oldestPendingSeconds": 3},
    }


def pretend(page: Page) -> list[str]:
    """Answer in place of the server. Returns a list that fills with what was asked."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        method, path = route.request.method, route.request.url.partition("//")[2].partition("/")[2]
        asked.append(f"{method} /{path}")
        body: dict[str, Any]
        if path.startswith("api/history"):
            body = history(int(path.partition("hours=")[2]))
        elif path.endswith("/deliveries"):
            body = {"deliveries": [DELIVERY]}
        elif path.endswith("/redeliver"):
            body = DELIVERY
        elif path.endswith("/test"):
            body = {"object": "webhook_endpoint.test", "success": True, "status_code": 204}
        elif method == "DELETE":
            body = {"id": "we_1", "object": "webhook_endpoint.deleted", "deleted": True}
        elif method == "POST":
            body = {**ENDPOINT, "signing_secret": SECRET}
        else:
            body = {"object": "list", "data": [ENDPOINT], "first_id": "we_1", "last_id": "we_1", "has_more": False}
        route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

    for pattern in ("**/api/history?*", "**/api/tasks/*/deliveries", "**/api/deliveries/*/redeliver", "**/v1/**"):
        page.route(pattern, answer)
    return asked
