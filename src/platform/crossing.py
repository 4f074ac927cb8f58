"""Whole values between Python and JavaScript, each in one crossing, as JSON.

Value by value a crossing costs some microseconds; the SDK's conversion, which asks each value what it is, some tens. A
row of D1 has forty.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsProxy


class Crossing:
    """One invocation's way over. It looks up once what it needs of JavaScript: each look-up is a crossing itself.

    It is not kept for longer: what an interpreter holds of JavaScript for good is among the suspects of decision 0013.
    """

    def __init__(self) -> None:
        import js

        self._js = js

    @cached_property
    def _parse(self) -> "Callable[[str], JsProxy]":
        return self._js.JSON.parse

    @cached_property
    def _stringify(self) -> "Callable[[JsProxy], str]":
        return self._js.JSON.stringify

    @cached_property
    def fetch(self) -> "Callable[[str, JsProxy], Awaitable[js.Response]]":
        """JavaScript's own `fetch`."""
        return self._js.fetch

    @cached_property
    def new_controller(self) -> "Callable[[], js.AbortController]":
        """Make an AbortController."""
        return self._js.AbortController.new

    @cached_property
    def _from_entries(self) -> "Callable[[js.Headers], JsProxy]":
        return self._js.Object.fromEntries

    def into_javascript(self, value: object) -> "JsProxy":
        """Make JavaScript's form of what JSON can say; None becomes `null`."""
        return self._parse(json.dumps(value, ensure_ascii=False))

    def from_javascript(self, value: "JsProxy") -> Any:
        """Read what JSON can say; `null` becomes None, and `undefined` in an object is left out."""
        return json.loads(self._stringify(value))

    def entries(self, headers: "js.Headers") -> dict[str, str]:
        """Read headers. JavaScript has their names in lower case, each once."""
        found: dict[str, str] = self.from_javascript(self._from_entries(headers))
        return found


def into_javascript(value: object) -> "JsProxy":
    """Make JavaScript's form of a value, where one is all that there is to make."""
    return Crossing().into_javascript(value)


def from_javascript(value: "JsProxy") -> Any:
    """Read a value, where one is all that there is to read."""
    return Crossing().from_javascript(value)


def says_at_most(headers: Mapping[str, str], most: int) -> bool:
    """Say whether a message's headers say how long its body is, and that it is no longer than `most` bytes."""
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length) <= most


def behind(env: object) -> Any:
    """Return JavaScript's own environment of the SDK's wrapper; None if there is no wrapper, as in the simulation."""
    return getattr(env, "_env", None)


def unwrapped(binding: object) -> Any:
    """Return JavaScript's own binding of the SDK's wrapper, or what has no wrapper as it is.

    The wrapper converts each argument and each result. Its `fetch` keeps the promise to itself (see `http_client`).
    """
    return getattr(binding, "_binding", binding)
