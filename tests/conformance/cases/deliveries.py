"""A consumer that does what each message says and records its deliveries, and the functions that cases call."""

import asyncio
import json
from typing import Any

from tests.conformance.cases.registry import show

# The acts that a message may ask of its consumer at an attempt. `raise` ends the handler there.
ACTS = ("ack", "retry", "retry later", "raise", "ack all", "retry all", "nothing")


class ConsumerFailed(Exception):
    """The error that a message asked for."""


async def consume(env: Any, batch: Any) -> None:
    """Log the deliveries of a batch, then do what the messages say."""
    log = []
    runs = [_run(message) for message in batch.messages]
    for message, run in zip(batch.messages, runs, strict=True):
        entry = {
            "queue": batch.queue,
            "batch": len(runs),
            "of this run": runs.count(run),
            "attempts": message.attempts,
            "body": show(message.body),
            "id": type(message.id).__name__,
            "timestamp": type(message.timestamp).__name__,
        }
        insert = env.DB.prepare("INSERT INTO deliveries (run, id, entry) VALUES (?, ?, ?)")
        log.append(insert.bind(run, message.id, json.dumps(entry)))
    await env.DB.batch(log)
    for message in sorted(batch.messages, key=_number):  # a batch has any order
        _act(batch, message)


def _run(message: Any) -> str:
    return str(message.body["run"]) if isinstance(message.body, dict) and "run" in message.body else "bare"


def _number(message: Any) -> int:
    return int(message.body.get("n", 0)) if isinstance(message.body, dict) else 0


def _act(batch: Any, message: Any) -> None:
    if not isinstance(message.body, dict) or batch.queue != "ai-processing-queue":
        return
    script = message.body.get("do", [["nothing"]])
    for act in script[min(int(message.attempts), len(script)) - 1]:
        assert act in ACTS, act
        if act == "ack":
            message.ack()
        elif act == "retry":
            message.retry()
        elif act == "retry later":
            message.retry({"delaySeconds": 1})
        elif act == "ack all":
            batch.ackAll()
        elif act == "retry all":
            batch.retryAll()
        elif act == "raise":
            raise ConsumerFailed("a message asked for it")


async def send(env: Any, run: str, *scripts: list[list[str]], **more: Any) -> None:
    """Send one message for each script. A script says what the consumer does at each attempt of its message."""
    if len(scripts) == 1:
        await env.AI_QUEUE.send({"run": run, "do": scripts[0], **more})
        return
    bodies = [{"run": run, "n": number, "do": script, **more} for number, script in enumerate(scripts)]
    await env.AI_QUEUE.sendBatch([{"body": body} for body in bodies])


async def deliveries(env: Any, run: str, expected: int, *, quiet_seconds: float = 1.0) -> list[dict[str, Any]]:
    """Return the deliveries, after the expected number has come and there was time for more."""
    await _poll(env, run, expected)
    await asyncio.sleep(quiet_seconds)
    return await _deliveries(env, run)


async def of_one_batch(env: Any, run: str, *scripts: list[list[str]], expected: int) -> list[list[Any]]:
    """Send messages until they happen to arrive as one batch, which is never guaranteed. Returns the deliveries."""
    for number in range(20):
        await send(env, f"{run} {number}", *scripts)
        log = await deliveries(env, f"{run} {number}", expected)
        if log[0]["of this run"] == len(scripts):
            return brief(log)
    raise AssertionError("never delivered as one batch")


async def _poll(env: Any, run: str, expected: int) -> None:
    for _ in range(400):
        if len(await _deliveries(env, run)) >= expected:
            return
        await asyncio.sleep(0.05)


async def _deliveries(env: Any, run: str) -> list[dict[str, Any]]:
    sql = "SELECT entry FROM deliveries WHERE run = ? ORDER BY rowid"
    return [json.loads(row["entry"]) for row in (await env.DB.prepare(sql).bind(run).all())["results"]]


def full(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return everything of each delivery, except the size of its batch, which may include other cases' messages."""
    return [{name: value for name, value in entry.items() if name != "batch"} for entry in log]


def brief(log: list[dict[str, Any]]) -> list[list[Any]]:
    """Return queue, message number and attempt of each delivery, in an order that ignores the batches."""
    return sorted([entry["queue"], entry["body"].get("n", 0), entry["attempts"]] for entry in log)
