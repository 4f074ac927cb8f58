"""The cases, and how they record results. It runs inside workerd too, with the standard library alone."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

type Case = Callable[[Any], Awaitable[Any]]

# The cases by name. WORKER_CASES are called with `env`, and OBJECT_CASES inside a Durable Object with its `ctx`.
WORKER_CASES: dict[str, Case] = {}
OBJECT_CASES: dict[str, Case] = {}

_CODES = re.compile(r"SQLITE_[A-Z]+(?:_[A-Z]+)*")
_OFFSET = re.compile(r" at offset \d+")
_PREFIX = re.compile(r"D1_[A-Z0-9_]+")


def worker_case(case: Case) -> Case:
    assert case.__name__ not in WORKER_CASES, case
    WORKER_CASES[case.__name__] = case
    return case


def object_case(case: Case) -> Case:
    assert case.__name__ not in OBJECT_CASES, case
    OBJECT_CASES[case.__name__] = case
    return case


def describe(error: BaseException) -> dict[str, Any]:
    name, text = type(error).__name__, str(error)
    prefix = _PREFIX.search(text)
    return {
        "kind": "js" if name in {"JsError", "JsException"} else name,
        "prefix": prefix[0] if prefix else None,
        "codes": sorted(set(_CODES.findall(text))),
        "text": _OFFSET.sub("", text).partition("\n")[0].partition(". ")[0].rstrip("."),
    }


async def attempt(awaitable: Awaitable[Any]) -> Any:
    """Return an awaitable's result, or the error that it raises."""
    try:
        return show(await awaitable)
    except Exception as error:  # noqa: BLE001 - which it is, is the result
        return {"raised": describe(error)}


async def attempt_late(call: Callable[[], Awaitable[Any]]) -> Any:
    """Return a call's awaited result, or the error that the call raises, even before it returns an awaitable."""
    try:
        return show(await call())
    except Exception as error:  # noqa: BLE001 - which it is, is the result
        return {"raised": describe(error)}


def attempt_now(function: Callable[[], Any]) -> Any:
    """Return a synchronous call's result, or the error that it raises."""
    try:
        return show(function())
    except Exception as error:  # noqa: BLE001 - which it is, is the result
        return {"raised": describe(error)}


async def now_ms(env: Any) -> int:
    now: float = await env.DB.prepare("SELECT unixepoch('subsec') AS now").first("now")
    return int(now * 1000)


def show(value: Any) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return int(str(value)) if type(value) not in {type(None), bool, str, int} else value  # Pyodide's JsBigInt
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else {"float": str(value)}  # noqa: PLR0124 - NaN
    if isinstance(value, Mapping):
        return {str(key): show(item) for key, item in value.items()}
    if isinstance(value, list):
        return [show(item) for item in value]
    return {type(value).__name__: list(bytes(value)) if isinstance(value, bytes | memoryview) else "?"}
