"""Runs a walk of a client in a process of its own, and holds what it saw to what must be seen."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WALK_SECONDS = 120

# Whatever the language and the version.
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


def walk(command: Sequence[str | Path], folder: Path = HERE) -> str:
    """Run a walk and return the client's version. Raises AssertionError with what was seen otherwise."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=WALK_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    version: str = seen.pop("version")
    assert seen == EXPECTED, {name: value for name, value in seen.items() if value != EXPECTED.get(name)}
    return version
