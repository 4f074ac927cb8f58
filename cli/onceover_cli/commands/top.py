"""The command `top`: shows backlog, throughput, latency and failures again and again."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Annotated, Final

import typer
from rich.live import Live
from rich.text import Text

from .. import health, terminal
from ..connection import ApiClient
from ..doctor import deployment
from ..doctor.failures import may_read_all
from ..errors import ServerRefused, Unreachable
from ..shapes import Json
from ..submission import seconds
from .flags import Form, Key, OutputForm, Url, connect, examples
from .tasks import pages

_TASKS_MOST: Final = 200


def top(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Show one snapshot, and exit.")] = False,
    interval: Annotated[str, typer.Option("--interval", metavar="TIME", help="The time between two snapshots.")] = "5s",
    window: Annotated[str, typer.Option("--window", metavar="TIME", help="How far to look back.")] = "1h",
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show what is wrong, the model's health, backlog, throughput, latency and failures, live. Ctrl-C ends it."""
    pause, span = max(1.0, seconds("--interval", interval)), timedelta(seconds=seconds("--window", window))
    with connect(context, url, key) as api:
        if form is Form.JSON or once or not terminal.is_terminal(sys.stdout):
            if once:
                _write(snapshot(api, span, datetime.now(UTC)), form)
                return
            while True:
                try:
                    _write(snapshot(api, span, datetime.now(UTC)), form)
                except (Unreachable, ServerRefused) as error:
                    _pass(error)
                    terminal.say(f"onceover: {error}; trying again")
                time.sleep(pause)
        with (
            suppress(KeyboardInterrupt),
            Live(console=terminal.console(sys.stdout), auto_refresh=False, screen=False) as live,
        ):
            while True:
                live.update(Text(terminal.harmless(_screen(api, span))), refresh=True)
                time.sleep(pause)


def _write(found: Json, form: Form) -> None:
    """Print one snapshot."""
    if form is Form.JSON:
        terminal.write_json(found)
    else:
        terminal.write(_text(found) + "\n")


def _pass(error: Unreachable | ServerRefused) -> None:
    """Raise `error` if every later snapshot would fail with it too. Ignore any other error."""
    if isinstance(error, ServerRefused) and not error.may_pass:
        raise error


def _screen(api: ApiClient, span: timedelta) -> str:
    """Return a snapshot as text. If the server does not answer, the text for the screen says so."""
    try:
        return _text(snapshot(api, span, datetime.now(UTC)))
    except (Unreachable, ServerRefused) as error:
        _pass(error)
        return f"{api.where.url}: {error}; trying again"


def snapshot(api: ApiClient, span: timedelta, now: datetime) -> Json:
    """Read the current figures. A snapshot's figures of tasks cover the tenant's latest 200 tasks within `span`."""
    status, model = api.get("/api/async-status", {"verbose": "1"}), health.read(api)
    after = (now - span).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    tasks: Sequence[Json] = pages(api, {"createdAfter": after}, _TASKS_MOST)["tasks"]
    own = Counter(task["status"] for task in tasks)
    ended = [task for task in tasks if task["finishedAt"] is not None]
    minutes = max(1.0, span.total_seconds() / 60)
    return {
        "at": now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "url": api.where.url,
        "status": status["status"],
        "model": model,
        "troubles": [check.view() for check in deployment.troubles(api, status, model, now)],
        "backlog": status.get("backlog"),
        "storage": status.get("storage"),
        "lastSweepAt": status.get("lastSweepAt"),
        "windowSeconds": round(span.total_seconds()),
        "tasks": {name: own[name] for name in ("pending", "processing", "completed", "failed", "cancelled")},
        "isWhole": len(tasks) < _TASKS_MOST,
        "endedPerMinute": round(len(ended) / minutes, 2),
        "latencySeconds": _latency([_seconds(task) for task in ended if task["status"] == "completed"]),
        "failures": dict(
            Counter((task["error"] or {}).get("code", "") for task in tasks if task["status"] == "failed")
        ),
        "failuresByTenant": _by_tenant(api, after) if "backlog" in status else None,
        "modelCalls": sum(task["usage"]["modelCalls"] for task in tasks),
        "inDoubt": sum(task["usage"]["inDoubt"] for task in tasks),
    }


def _by_tenant(api: ApiClient, after: str) -> Json | None:
    """Count the failures of all tenants by tenant and code, for an operator's key. Else return None."""
    if not may_read_all(api):
        return None
    failed = pages(api, {"tenant": "*", "status": "failed", "createdAfter": after}, _TASKS_MOST)["tasks"]
    counts = Counter((str(task.get("tenant", "")), (task["error"] or {}).get("code", "")) for task in failed)
    found: Json = {}
    for (tenant, code), count in counts.items():
        found.setdefault(tenant, {})[code] = count
    return found


def _seconds(task: Json) -> float:
    """Return how many seconds a task took from its submission to its end."""
    return (datetime.fromisoformat(task["finishedAt"]) - datetime.fromisoformat(task["createdAt"])).total_seconds()


def _latency(found: list[float]) -> Json | None:
    if not found:
        return None
    cuts = quantiles(found, n=20, method="inclusive") if len(found) > 1 else found * 19
    return {"p50": round(cuts[9], 2), "p95": round(cuts[18], 2)}


def _text(found: Json) -> str:
    """Write a snapshot as text for people."""
    backlog, storage, latency = found["backlog"], found["storage"], found["latencySeconds"]
    counts = ", ".join(f"{count} {name}" for name, count in found["tasks"].items() if count) or "none"
    lines = [f"{found['url']}  {found['status']}  {found['at']}"]
    lines += [f"trouble     {one['id']}: {one['evidence']}" for one in found["troubles"]]
    lines += [f"model       {health.described(found['model'])}"]
    if backlog is not None:
        oldest = (
            "" if backlog["oldestPendingSeconds"] is None else f", the oldest for {backlog['oldestPendingSeconds']} s"
        )
        lines.append(f"backlog     {backlog['pending']} pending, {backlog['processing']} processing{oldest}")
    if storage is not None:
        lines.append(f"storage     {storage['bytes'] / 1e6:.1f} of {storage['most'] / 1e6:.0f} MB")
    lines += [
        f"tasks       {counts} in {found['windowSeconds'] // 60} min" + ("" if found["isWhole"] else " (latest 200)"),
        f"throughput  {found['endedPerMinute']} tasks a minute",
        "latency     " + ("-" if latency is None else f"p50 {latency['p50']} s, p95 {latency['p95']} s"),
        f"failures    {_failures(found['failures'])}",
        *(
            f"            tenant {name}: {_failures(codes)}"
            for name, codes in (found["failuresByTenant"] or {}).items()
        ),
        f"calls       {found['modelCalls']} ({found['inDoubt']} in doubt)",
    ]
    return "\n".join(lines)


def _failures(codes: Json) -> str:
    return ", ".join(f"{count} {code}" for code, count in codes.items()) or "none"


def register(app: typer.Typer) -> None:
    """Add the command `top` to the program."""
    app.command(
        epilog=examples(
            "onceover top", "onceover top --once --window 24h", "onceover top -o json --interval 60s >> load.jsonl"
        )
    )(top)
