"""Moves whole values between Python and JavaScript, each in one crossing, as JSON.

Passing one value costs some microseconds. The SDK's conversion, which asks each value for its type, costs some tens of
microseconds. A row of D1 has forty values.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsProxy


class Crossing:
    """The crossings of one invocation.

    Each JavaScript function is looked up once, because each look-up is a crossing itself.

    The object lives no longer than its invocation, because JavaScript objects that an interpreter keeps are among the
    suspects of decision 0013.
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
        """Make the JavaScript form of a JSON value. None becomes `null`."""
        return self._parse(json.dumps(value, ensure_ascii=False))

    def from_javascript(self, value: "JsProxy") -> Any:
        """Read a JSON value. `null` becomes None, and `undefined` in an object is left out."""
        return json.loads(self._stringify(value))

    def entries(self, headers: "js.Headers") -> dict[str, str]:
        """Read headers. JavaScript gives each name once and in lower case."""
        found: dict[str, str] = self.from_javascript(self._from_entries(headers))
        return found


def into_javascript(value: object) -> "JsProxy":
    """Make the JavaScript form of a single value."""
    return Crossing().into_javascript(value)


def from_javascript(value: "JsProxy") -> Any:
    """Read a single value."""
    return Crossing().from_javascript(value)


def says_at_most(headers: Mapping[str, str], most: int) -> bool:
    """Whether a message's headers give the length of its body, and that is at most `most` bytes."""
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length) <= most


def behind(env: object) -> Any:
    """Return the JavaScript environment in the SDK's wrapper.

    Return None for an `env` without a wrapper, as in the simulation.
    """
    return getattr(env, "_env", None)


def unwrapped(binding: object) -> Any:
    """Return the JavaScript binding in the SDK's wrapper, or an unwrapped one as it is.

    The wrapper converts each argument and each result. The `fetch` of the wrapper hides the promise (see
    `http_client`).
    """
    return getattr(binding, "_binding", binding)
