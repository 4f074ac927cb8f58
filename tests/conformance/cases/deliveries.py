"""The consumer of the conformance Worker, which does what each message says, and functions for the cases."""

import asyncio
import json
from typing import Any

from tests.conformance.cases.registry import show

# What a message may tell its consumer to do at an attempt. `raise` lets the consumer's handler raise an error at the
# message.
ACTS = ("ack", "retry", "retry later", "raise", "ack all", "retry all", "nothing")


class ConsumerFailed(Exception):
    """The error that the consumer raises if a message says `raise`."""


async def consume(env: Any, batch: Any) -> None:
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
    for message in sorted(batch.messages, key=_number):  # the order of a batch is not guaranteed
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
    if len(scripts) == 1:
        await env.AI_QUEUE.send({"run": run, "do": scripts[0], **more})
        return
    bodies = [{"run": run, "n": number, "do": script, **more} for number, script in enumerate(scripts)]
    await env.AI_QUEUE.sendBatch([{"body": body} for body in bodies])


async def deliveries(env: Any, run: str, expected: int, *, quiet_seconds: float = 1.0) -> list[dict[str, Any]]:
    await _poll(env, run, expected)
    await asyncio.sleep(quiet_seconds)
    return await _deliveries(env, run)


async def of_one_batch(env: Any, run: str, *scripts: list[list[str]], expected: int) -> list[list[Any]]:
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
    return [{name: value for name, value in entry.items() if name != "batch"} for entry in log]


def brief(log: list[dict[str, Any]]) -> list[list[Any]]:
    return sorted([entry["queue"], entry["body"].get("n", 0), entry["attempts"]] for entry in log)
