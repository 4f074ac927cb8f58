"""Reads the JSON objects of the API.

With `-o json` the command line prints the API's objects unchanged, including fields that only a newer server has.
"""

import json
from typing import Any

type Json = dict[str, Any]


def is_terminal(task: Json) -> bool:
    """Whether a task has ended."""
    return bool(task["terminal"])


def many(count: int, noun: str) -> str:
    """Write a number with its noun, such as "1 fault" or "2 faults"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def output_text(task: Json) -> str | None:
    """Return a task's result as one text, None if it has no result.

    The outputs of a task with `reduce: none` are joined with blank lines, and gaps are left out. If the outputs have
    values, the list of values is written as JSON instead.
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
    """Say how many gaps a task has, and which share of the text is not in gaps. Empty without gaps."""
    gaps = task["progress"].get("failed", 0) if "coverage" in task else 0
    return f"{many(gaps, 'gap')} ({task['coverage']:.1%} of the text covered)" if gaps else ""
