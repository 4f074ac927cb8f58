"""The JSON objects of the API.

The command line passes these objects on unchanged, so a newer server's fields reach `-o json`.
"""

from typing import Any

type Json = dict[str, Any]


def is_terminal(task: Json) -> bool:
    """Whether a task has ended."""
    return bool(task["terminal"])


def many(count: int, noun: str) -> str:
    """Write a number and the noun it counts: "1 fault", "2 faults"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def output_text(task: Json) -> str | None:
    """Return a task's result as one text; the parts of a list are joined with a blank line. None without a result."""
    result = task.get("result")
    if result is None:
        return None
    output = result["output"]
    return output if isinstance(output, str) else "\n\n".join(output)
