"""What survives the way through JavaScript: structured clones of messages, arguments, results and stored values."""

import json
from datetime import datetime
from typing import Any

_SAFE_INTEGER = 2**53 - 1


def clone(value: Any) -> Any:
    """Copy `value` as the SDK's conversion to JavaScript and back does.

    5.0 arrives as 5. Raises TypeError for what cannot cross: tuples, bytearrays, sets, objects.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is bytes or kind is datetime:
        return value
    if kind is int:
        return value if abs(value) <= _SAFE_INTEGER else float(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= _SAFE_INTEGER else value
    if isinstance(value, dict):
        return {_key(key): clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    raise TypeError(f"{kind} cannot be sent over RPC.")


def _key(key: Any) -> str:
    return key if type(key) is str else str(key)


def to_json(value: Any) -> str:
    """The JSON text of a queue message; raises TypeError for what cannot cross."""
    return json.dumps(clone(value), ensure_ascii=False, separators=(",", ":"))
