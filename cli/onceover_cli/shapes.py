"""The JSON objects of the API.

The command line passes these objects on unchanged, so a newer server's fields reach `-o json`.
"""

import json
from typing import Any

type Json = dict[str, Any]


def is_terminal(task: Json) -> bool:
    """Whether a task has ended."""
    return bool(task["terminal"])


def many(count: int, noun: str) -> str:
    """Write a number and the noun it counts: "1 fault", "2 faults"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def output_text(task: Json) -> str | None:
    """Return a task's result as one text. None without a result.

    The parts of a list are joined with a blank line, without its gaps. A list of values is written as JSON.
    """
    result = task.get("result")
    if result is None:
        return None
    output = result["output"]
    if isinstance(output, str):
        return output
    if "value" in result:
        return json.dumps(result["value"], ensure_ascii=False, separators=(",", ":"))
    return "\n\n".join(part for part in output if part is not None)


def gaps_text(task: Json) -> str:
    """Say how many gaps a task has, and how much of the text is covered. Empty without gaps."""
    gaps = task["progress"].get("failed", 0) if "coverage" in task else 0
    return f"{many(gaps, 'gap')} ({task['coverage']:.1%} of the text covered)" if gaps else ""
