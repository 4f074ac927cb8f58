"""Batches for tests of the dashboard: a batch in the forms of both APIs, and files of lines."""

import json
from typing import Any

from tests.support.client import CHAT, Client
from tests.support.stage import TASK_ID, Answer, task

BATCH_ID = f"batch_{TASK_ID.replace('-', '')}"
OUTPUT_ID, ERROR_ID = (f"file-{digit * 32}" for digit in "ab")
BEGAN = 1_795_860_000  # 28 November 2026, 10:00 UTC, the same time as `stage.BEGAN`
TASK, BATCH = f"/api/tasks/{TASK_ID}", f"/v1/batches/{BATCH_ID}"
_ENDED = {"completed", "failed", "expired", "cancelled"}
_OF_TASK = {"expired": "failed", "cancelling": "cancelled", "finalizing": "completed", "in_progress": "processing"}
_OF_TASK |= {"validating": "processing"}


def line(custom_id: str, text: str, **body: object) -> str:
    said = {"model": "m-1", "messages": [{"role": "user", "content": text}], **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": said}) + "\n"


def start(client: Client, content: str, **fields: object) -> dict[str, Any]:
    return client.start_batch(content, **fields)


def task_of(batch: dict[str, Any]) -> str:
    return str(batch["onceover"]["task"]).rpartition("/")[2]


def answers(
    status: str, total: int = 0, completed: int = 0, failed: int = 0, changed: dict[str, Any] | None = None
) -> dict[str, Answer]:
    """Return the API's answers about a batch and its list of tasks; `changed` replaces its fields."""
    ended, of_task = status in _ENDED, _OF_TASK.get(status, status)
    at = BEGAN + 60
    batch: dict[str, Any] = {"id": BATCH_ID, "object": "batch", "endpoint": CHAT, "model": "m-1" if total else None}
    batch |= {"errors": None, "input_file_id": f"file-{'c' * 32}", "completion_window": "24h", "status": status}
    batch |= {"output_file_id": OUTPUT_ID if total and (completed or not ended) else None}
    batch |= {"error_file_id": ERROR_ID if ended and total and failed else None, "created_at": BEGAN}
    batch |= {"in_progress_at": BEGAN + 2 if total else None, "expires_at": BEGAN + 86_400, "finalizing_at": None}
    batch |= {f"{name}_at": at if name == status else None for name in [*_ENDED, "cancelling"]}
    batch |= {
        "request_counts": {"total": total, "completed": completed, "failed": failed},
        "metadata": {"name": "A name"},
    }
    batch |= changed or {}
    terminal = of_task != "processing"
    whole = task(
        kind="batch",
        batch=BATCH_ID,
        status=of_task,
        terminal=terminal,
        finishedAt="2026-11-28T10:01:00.000Z" if terminal else None,
        progress={"total": total or None, "completed": completed, "failed": failed, "truncated": 0},
        usage=task()["usage"] | {"modelCalls": completed + failed, "minimumCalls": total},
    )
    code = {"expired": "deadline_exceeded", "failed": "invalid_batch"}.get(status)
    whole["error"] = code and {"code": code, "message": "It failed.", "retryable": False}
    whole["metadata"] = batch["metadata"]
    lists: dict[str, Answer] = {
        "/api/tasks": {"tasks": [whole], "nextCursor": None},
        f"{TASK}/deliveries": {"deliveries": []},
    }
    return {TASK: whole, BATCH: batch, **lists}
