"""Writes the lines of a batch's output file and error file, in the format of OpenAI's batches.

A line is one JSON object in ASCII without a line's end, so that its characters are its bytes. Its ids follow from the
task and the position of the line in the batch, so that a line which is written again is the same.
"""

import hashlib
import json
from collections.abc import Mapping
from math import isfinite

from ....kernel.domain.ids import TaskKey
from .completions import whole_completion
from .lines import CHAT, BatchEndpoint, Line
from .response_objects import response_object

_OK = 200


def output_line(
    task: TaskKey, position: int, endpoint: BatchEndpoint, line: Line, answer: Mapping[str, object], now_ms: int
) -> str:
    """Write the line at `position`, from 0, for an `answer`: a whole chat completion, which arrived at `now_ms`."""
    digits = _digits(task, position)
    if endpoint == CHAT:
        body = whole_completion(answer, own_id=f"chatcmpl-{digits}", model=line.model, now_ms=now_ms)
    else:
        body = response_object(
            answer, digits=digits, body=line.body, unsent=line.unsent, model=line.model, now_ms=now_ms
        )
    return _written(digits, line.custom_id, {"status_code": _OK, "request_id": f"req_{digits}", "body": body}, None)


def refused_line(task: TaskKey, position: int, custom_id: str | None, status: int, body: object) -> str:
    """Write the line of a refused request: the provider's status and body. `custom_id` is None for a lost line."""
    digits = _digits(task, position)
    return _written(digits, custom_id, {"status_code": status, "request_id": f"req_{digits}", "body": body}, None)


def unanswered_line(task: TaskKey, position: int, custom_id: str | None, code: str, message: str) -> str:
    """Write the line of a request without an answer, and why (`code`). `custom_id` is None for a lost line."""
    return _written(_digits(task, position), custom_id, None, {"code": code, "message": message})


def _digits(task: TaskKey, position: int) -> str:
    """Return 32 hexadecimal digits that only this line of this batch has."""
    return hashlib.sha256(f"{task}/{position}".encode()).hexdigest()[:32]


def _written(
    digits: str, custom_id: str | None, response: Mapping[str, object] | None, error: Mapping[str, object] | None
) -> str:
    line = {"id": f"batch_req_{digits}", "custom_id": custom_id, "response": response, "error": error}
    try:
        return json.dumps(line, allow_nan=False, separators=(",", ":"))
    except ValueError:  # JSON has no infinite number, but a provider's answer may
        return json.dumps(_finite(line), allow_nan=False, separators=(",", ":"))


def _finite(value: object) -> object:
    """Replace infinite numbers by null, as JavaScript does."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
