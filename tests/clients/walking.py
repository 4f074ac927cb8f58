"""Runs programs that use a client, each in its own process, and compares their output with the expected output."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.programs import output_of

HERE = Path(__file__).parent

# The variables of the deployment for `walk`. The deployment for `walk` keeps inputs, because a task may have ended
# before the program lists its input items.
WALKED = {"REQUIRE_KEYS": "true", "KEEP_INPUT": "true"}
# The output that `walk.py` and `walk.mjs` must have with every version of the SDKs.
EXPECTED: dict[str, Any] = {
    "queued": ["queued", "response", {"a": "b"}, "Say it.", True],
    "done": ["completed", True, True, None],
    "items": [True],
    "long": ["completed", 20, 1],
    "cancelled": "completed",
    "gone": [404, "not_found"],
    "models": [["demo-1"], "demo-1"],
    "tools": ["BadRequestError", 400, "unsupported_parameter", "tools"],
    "foreground": ["BadRequestError", 400, "unsupported_parameter", "background"],
    "temperature": ["BadRequestError", 400, "invalid_fields", "temperature"],
    "stranger": ["AuthenticationError", 401, "unauthenticated", None],
}
_GONE = ["NotFoundError", 404, "not_found", None]
# The output that `files.py` and `files.mjs` must have for the file `lines.jsonl` of FILE_BYTES bytes.
FILE_BYTES = 1_300_000
EXPECTED_OF_FILES: dict[str, Any] = {
    "path": ["lines.jsonl", FILE_BYTES, "batch", "processed", "file", 2_592_000],
    "buffer": ["été.txt", FILE_BYTES, "user_data", "processed", "file", 3_600],
    "stream": ["stream.jsonl", FILE_BYTES, "batch", "processed", "file", 2_592_000],
    "same": [True, True, True],
    "retrieved": [True, True, True],
    "listed": True,
    "purpose": True,
    "page": [True, True, True],
    "streamed": True,
    "other purpose": ["BadRequestError", 400, "invalid_fields", "purpose"],
    "too soon": ["BadRequestError", 400, "invalid_fields", "expires_after[seconds]"],
    "deleted": [[True, "file"]] * 3,
    "gone": [_GONE, _GONE],
    "none": [[], False],
}
# The output that `long_text.py` and `long_text.mjs` must have for a text of several chunks.
EXPECTED_OF_LONG_TEXT: dict[str, Any] = {
    "made": ["queued", "Be short.\n\nList who met whom."],  # The text beside the file is an instruction too.
    "done": ["completed", "completed", True],
    "usage": [True, True],
    "items": [True],
    "streamed": [True, True],
    "purpose": ["BadRequestError", 400, "invalid_fields", "input[0].content[0].file_id"],
    "unknown": ["BadRequestError", 400, "invalid_fields", "input[0].content[0].file_id"],
    "two": ["BadRequestError", 400, "unsupported_parameter", "input[1]"],
    "deleted": [True, True],
    "kept": True,
}
# The output that `batcher.py` must have.
EXPECTED_OF_BATCHER: dict[str, Any] = {
    "chat": ["chat.completion", "stop", True, True],
    "long": ["completed", 20, 1, "default"],
    "at_once": [20, 20],
    "in_batches": [
        40,
        40,
        True,
        [["/v1/chat/completions", "completed", 20, 1, 21], ["/v1/responses", "completed", 20, 0, 20]],
    ],
    "cancelled": [True, "cancelled"],
    "refused": [400, "unsupported_parameter", "tools"],
}
_CONCAT = ["created", "queued", "in_progress", "output_item.added", "content_part.added"]
_ENDS = ["output_text.done", "content_part.done", "output_item.done", "completed"]
# The output that `stream.py` and `stream.mjs` must have.
EXPECTED_OF_STREAM: dict[str, Any] = {
    "concat": {"types": [*_CONCAT, *["output_text.delta"] * 8, *_ENDS], "numbered": True, "text": True, "again": True},
    "merge": {"types": [*_CONCAT, "output_text.delta", *_ENDS], "numbered": True, "text": True, "again": True},
    "patient": {"numbered": True, "text": True, "broken": []},
    "cancelled": ["response.failed", "cancelled"],
}


def run(command: Sequence[str | Path], told: str = "") -> Any:
    """Run a program and return its JSON. Raise AssertionError with its errors if it fails."""
    return json.loads(output_of(command, cwd=HERE, input=told))


def walk(command: Sequence[str | Path], expected: Mapping[str, Any] = EXPECTED) -> str:
    """Run a walk and return the client's version. Raise AssertionError for an unexpected output."""
    seen = run(command)
    version: str = seen.pop("version")
    assert seen == expected, {name: value for name, value in seen.items() if value != expected.get(name)}
    return version


def unwrapped(command: Sequence[str | Path], body: str, headers: Mapping[str, str], secrets: Sequence[str]) -> Any:
    return run(command, json.dumps({"body": body, "headers": dict(headers), "secrets": list(secrets)}))
