"""The commands `chunks`, `attempts`, `deliveries` and `history`."""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

import typer

from .. import terminal
from ..connection import ApiClient
from ..shapes import Json
from .flags import Form, Key, OutputForm, TaskId, Tenant, Url, connect, examples

_PAGE: Final = 100
_PREVIEW_CHARS: Final = 48
_HOUR_CHARS: Final = len("2026-11-25T10")
# The fields of the history that the command's table adds up for each hour, each with its column's heading.
_ADDED: Final = {
    "completed": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "deadLetters": "DEAD",
    "modelCalls": "CALLS",
    "inDoubt": "DOUBT",
    "truncated": "CUT",
}


def chunk_pages(api: ApiClient, task_id: str, most: int | None = None) -> Iterator[Json]:
    """Yield a task's finished chunks in the order of the text, reading them page by page."""
    query = {"limit": str(_PAGE if most is None else min(most, _PAGE))}
    left = most
    while True:
        page = api.get(f"/api/tasks/{task_id}/chunks", query)
        found = page["chunks"] if left is None else page["chunks"][:left]
        yield from found
        left = None if left is None else left - len(found)
        if page["nextCursor"] is None or left == 0:
            return
        query["cursor"] = page["nextCursor"]


def chunks(
    context: typer.Context,
    task_id: TaskId,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", min=1, help="The first N chunks; by default all.")
    ] = None,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the finished chunks of a task: their place in the text, their cost and how they ended."""
    with connect(context, url, key, tenant=tenant) as api:
        found = list(chunk_pages(api, task_id, limit))
    if form is Form.JSON:
        terminal.write_json({"chunks": found})
        return
    rows = [
        [
            str(one["index"]),
            f"{one['start']}-{one['end']}",
            one["status"],
            str(one["attempts"]),
            "cached" if one.get("cached") else one.get("finishReason") or (one["error"] or {}).get("code", ""),
            _preview(one["output"] or (one["error"] or {}).get("message", "")),
        ]
        for one in found
    ]
    terminal.write_table(["INDEX", "CHARACTERS", "STATUS", "CALLS", "END", "OUTPUT"], rows)


def _preview(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _PREVIEW_CHARS else f"{line[: _PREVIEW_CHARS - 1]}…"


class OutcomeFilter(StrEnum):
    """How a call ended."""

    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    SUCCEEDED = "succeeded"
    OUT = "out"


def attempt_pages(api: ApiClient, task_id: str, query: dict[str, str], most: int | None = None) -> Json:
    """Read up to `most` entries of the log of a task's calls, page by page, with the whole task's counts."""
    found: list[Json] = []
    asked = dict(query)
    while True:
        asked["limit"] = str(_PAGE if most is None else min(most - len(found), _PAGE))
        page = api.get(f"/api/tasks/{task_id}/attempts", asked)
        found += page["attempts"]
        if page["nextCursor"] is None or len(found) == most:
            return {"attempts": found, "counts": page["counts"], "nextCursor": page["nextCursor"]}
        asked["cursor"] = page["nextCursor"]


def attempts(
    context: typer.Context,
    task_id: TaskId,
    outcome: Annotated[OutcomeFilter | None, typer.Option("--outcome", help="Only calls with this outcome.")] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", min=1, help="How many at most; by default all.")] = None,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the model calls of a task one by one: when each was made, how it ended, and why it failed."""
    query = {} if outcome is None else {"outcome": outcome.value}
    with connect(context, url, key, tenant=tenant) as api:
        found = attempt_pages(api, task_id, query, limit)
    if form is Form.JSON:
        terminal.write_json(found)
        return
    rows = [
        [
            str(one["level"]),
            str(one["index"]),
            "" if one["number"] is None else str(one["number"]),
            one["outcome"],
            one["startedAt"] or "",
            "" if one["milliseconds"] is None else str(one["milliseconds"]),
            one["route"] or "",
            one["model"] or "",
            one["code"] or "",
            _preview(one["message"] or ""),
        ]
        for one in found["attempts"]
    ]
    headings = ["LEVEL", "INDEX", "CALL", "OUTCOME", "STARTED", "MS", "ROUTE", "MODEL", "CODE", "MESSAGE"]
    terminal.write_table(headings, rows)
    counts = found["counts"]
    if counts["unlisted"]:
        terminal.say(f"{counts['unlisted']} of {counts['calls']} calls are only counted, not kept one by one.")


def deliveries(
    context: typer.Context,
    task_id: TaskId,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the webhook deliveries of a task, each with its latest attempt."""
    with connect(context, url, key, tenant=tenant) as api:
        found = api.get(f"/api/tasks/{task_id}/deliveries")
    if form is Form.JSON:
        terminal.write_json(found)
        return
    rows = [
        [
            one["id"],
            one["endpoint"],
            one["type"],
            one["status"],
            str(one["tries"]),
            _last(one),
            one["nextAttemptAt"] or "",
        ]
        for one in found["deliveries"]
    ]
    terminal.write_table(["ID", "ENDPOINT", "EVENT", "STATUS", "TRIES", "LAST", "NEXT"], rows)


def _last(delivery: Json) -> str:
    """Describe a delivery's latest attempt."""
    if not delivery["attempts"]:
        return ""
    latest = max(delivery["attempts"], key=lambda attempt: str(attempt["at"]))
    said = [str(part) for part in (latest["status"], latest["failure"]) if part is not None]
    return f"{' '.join(said)}, {latest['milliseconds']} ms"


def history(
    context: typer.Context,
    hours: Annotated[int, typer.Option("--hours", min=1, max=48, help="How far to look back.")] = 24,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show how tasks ended in the last hours, hour by hour; for operators. `-o json` has steps of five minutes."""
    with connect(context, url, key) as api:
        found = api.get("/api/history", {"hours": str(hours)})
    if form is Form.JSON:
        terminal.write_json(found)
        return
    hours_found: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for bucket in found["buckets"]:
        figures, failures = hours_found.setdefault(str(bucket["at"])[:_HOUR_CHARS], (Counter(), Counter()))
        figures.update({name: bucket[name] for name in _ADDED})
        failures.update({str(one["code"]): one["tasks"] for one in bucket.get("failures", ())})
    rows = [
        [f"{hour}:00Z", *(str(figures[name]) for name in _ADDED), _by_code(failures)]
        for hour, (figures, failures) in sorted(hours_found.items())
    ]
    terminal.write_table(["HOUR", *_ADDED.values(), "CODES"], rows)


def _by_code(failures: Counter[str]) -> str:
    return ", ".join(f"{code} {tasks}" for code, tasks in failures.most_common())


def register(app: typer.Typer) -> None:
    """Add the commands `chunks`, `attempts`, `deliveries` and `history` to the program."""
    app.command(epilog=examples("onceover chunks $ID", "onceover chunks $ID -o json | jq -r '.chunks[].output'"))(
        chunks
    )
    app.command(
        epilog=examples("onceover attempts $ID --outcome failed", "onceover attempts $ID -o json | jq .counts")
    )(attempts)
    app.command(epilog=examples("onceover deliveries $ID"))(deliveries)
    app.command(epilog=examples("onceover history --hours 6", "onceover history -o json | jq '.buckets[-1]'"))(history)
