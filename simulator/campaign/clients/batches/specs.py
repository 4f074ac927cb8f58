"""Draws the batches of a run from a seed, and writes their files and requests."""

import json
from dataclasses import replace
from random import Random
from typing import Any, Final

from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.clients.tenants import TENANTS
from simulator.campaign.clients.workload import LIMITS_OF_TENANTS, SLOW_VARIABLES, Workload
from src.kernel.domain.ids import LOCAL

BATCHED_SHARE: Final = 0.125
# Other models than the first are not the deployment's own, so a batch of them begins anew once its model is known.
MODELS: Final = ("simulated-1", "simulated-1", "simulated-1", "simulated-2")
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def content(spec: BatchSpec, tag: str) -> bytes:
    """Return the input file of a batch, whose lines bear a tag by which the model's records identify them."""
    lines = [_line(spec, tag, place) for place in range(spec.lines)]
    broken = spec.lines // 2
    if spec.fault == "json":
        lines[broken] = '{"custom_id": "cut off'
    elif spec.fault == "twice":
        lines.append(lines[broken])
    elif spec.fault == "url":
        lines[broken] = lines[broken].replace('"url": "/v1/', '"url": "/v2/')
    end = "\r\n" if spec.lines % 3 == 0 else "\n"
    gap = "\n" if spec.lines % 4 == 0 else ""
    return (f"{end}{gap}".join(lines) + (end if spec.lines % 2 else "")).encode()


def _line(spec: BatchSpec, tag: str, place: int) -> str:
    text = f"{spec.mark if not place and spec.mark else 'w'}{place:03d}"
    body: dict[str, Any] = {"model": spec.model}
    if spec.endpoint == CHAT:
        body["messages"] = [{"role": "system", "content": tag}, {"role": "user", "content": text}]
    else:
        body |= {"instructions": tag, "input": text}
    return json.dumps({"custom_id": f"{tag}:{text}", "method": "POST", "url": spec.endpoint, "body": body})


def request(spec: BatchSpec, file_id: str, wish: str) -> dict[str, Any]:
    """Return the body of a request for a batch. The name of the client's wish stands in its metadata."""
    body: dict[str, Any] = {
        "input_file_id": file_id,
        "endpoint": spec.endpoint,
        "completion_window": f"{spec.window_hours}h",
        "metadata": {"wish": wish},
    }
    if spec.output_seconds is not None:
        body["output_expires_after"] = {"anchor": "created_at", "seconds": spec.output_seconds}
    if spec.max_calls is not None:
        body["onceover"] = {"maxModelCalls": spec.max_calls}
    return body


def batched(workload: Workload, rng: Random, *, always: bool = False) -> Workload:
    """In a share BATCHED_SHARE of the runs, add batches, and in most of these runs a bucket.

    A run with limits of tenants has no batches, because a refusal by `/v1` does not say which limit it was.
    """
    limited = any(name in workload.variables for name in LIMITS_OF_TENANTS)
    if (not always and rng.random() >= BATCHED_SHARE) or (limited and not always):
        return workload
    variables = {name: value for name, value in workload.variables.items() if name not in LIMITS_OF_TENANTS}
    tenants = TENANTS if workload.keyed else (LOCAL,)
    batches = tuple(draw(rng, rng.choice(tenants)) for _ in range(rng.choice((1, 1, 1, 1, 2, 3))))
    tasks = workload.tasks[: rng.choice((0, 0, 1, 2))] if always else workload.tasks
    if any(spec.mark == "z" for spec in batches):
        variables |= SLOW_VARIABLES
    return replace(
        workload,
        tasks=tasks,
        batches=batches,
        bucket=rng.random() < 0.85,
        variables=variables | {"AI_CONCURRENCY": str(rng.choice((2, 3, 6)))},
    )


def draw(rng: Random, tenant: str) -> BatchSpec:
    """Draw one batch."""
    lines = rng.choice((1, 5, 8, 13, 20, 30))
    actions = []
    if rng.random() < 0.5:
        at = rng.uniform(0, 25)
        for _ in range(rng.randint(1, 3)):
            action = rng.choice(_ACTIONS)
            actions.append((at, "list" if action == "intrude" and tenant == LOCAL else action))
            at += rng.choice((0.0, rng.uniform(0, 15)))
    return BatchSpec(
        at=rng.choice((0.0, rng.uniform(0, 15))),
        lines=lines,
        tenant=tenant,
        endpoint=rng.choice((CHAT, CHAT, CHAT, RESPONSES)),
        model=rng.choice(MODELS),
        fault=rng.choice(("json", "twice", "url")) if rng.random() < 0.08 else "",
        mark=rng.choice("xpzy") if rng.random() < 0.12 else "",
        window_hours=rng.choice((1, 2, 4)) if rng.random() < 0.2 else rng.choice((24, 168)),
        max_calls=rng.choice((1, lines, lines // 2 + 1, 2 * lines)) if rng.random() < 0.12 else None,
        output_seconds=rng.choice((3_600, 36_000)) if rng.random() < 0.1 else None,
        file_seconds=3_600 if rng.random() < 0.2 else None,
        idempotent=rng.random() < 0.3,
        readers=rng.choice((0, 1, 1, 2)),
        actions=tuple(actions),
    )


_ACTIONS: Final = (
    *("cancel", "cancel", "poll", "list", "delete_input", "delete_output"),
    *("delete", "retry", "retry", "intrude", "native"),
)
