"""Reads from the Worker's source each event that the code may log, and the names of the event's facts."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
_WRITERS = {"log", "_log", "failure", "_log_each"}


def log_events() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and (name := _name(call)) is not None:
                facts = found.setdefault(name, set())
                facts |= {keyword.arg for keyword in call.keywords if keyword.arg is not None}
                facts |= {"error"} if _writer(call) == "failure" else set()
    found["bad_configuration"] = {"variable", "error"}  # of `Log.misconfigured`
    return found


def _writer(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)


def _name(call: ast.Call) -> str | None:
    if _writer(call) not in _WRITERS or not call.args:
        return None
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
