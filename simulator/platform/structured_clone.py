"""Copies values as JavaScript's structured clone does: messages, arguments, results and stored values."""

import json
from datetime import datetime
from typing import Any

from simulator.platform.binding_port import JsError

SAFE_INTEGER = 2**53 - 1  # JavaScript's largest exact integer: larger ones come back as doubles.
NUMBER_MOST = 2**53 - 2  # Pyodide turns any larger number into a BigInt.


def clone(value: Any) -> Any:
    """Return a copy of `value` as the SDK's conversion to JavaScript and back makes it.

    For example 5.0 arrives as 5. Raises TypeError for tuples, bytearrays, sets and objects, which cannot be cloned.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is bytes or kind is datetime:
        return value
    if kind is int:
        return value
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= SAFE_INTEGER else value
    if isinstance(value, dict):
        return {_key(key): clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    raise TypeError(f"{kind} cannot be sent over RPC.")


def _key(key: Any) -> str:
    return key if type(key) is str else str(key)


def to_json(value: Any) -> str:
    """Return a queue message as JSON. Raises TypeError for a value that cannot be cloned, `JsError` for a BigInt."""
    copy = clone(value)
    if _holds_bigint(copy):
        raise JsError("Do not know how to serialize a BigInt", "TypeError")
    return json.dumps(copy, ensure_ascii=False, separators=(",", ":"))


def _holds_bigint(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(_holds_bigint(item) for item in (value.values() if isinstance(value, dict) else value))
    return type(value) is int and abs(value) > NUMBER_MOST
