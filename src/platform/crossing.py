"""Passes values between Python and JavaScript: each value, however large, is passed as one JSON text.

Passing one text between the two languages ("a crossing") costs some microseconds. The SDK's conversion asks JavaScript
for the type of each single value, which takes some tens of microseconds per value, and a row of D1 has forty values.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsProxy


class Crossing:
    """Converts values between Python and JavaScript for one invocation.

    Each JavaScript function is looked up only once, because a look-up also crosses. A `Crossing` lives no longer than
    its invocation: JavaScript objects that an interpreter keeps are a suspected cause of the crashes in decision 0013.
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
        """Convert a JSON value into a JavaScript value. None becomes `null`."""
        return self._parse(json.dumps(value, ensure_ascii=False))

    def from_javascript(self, value: "JsProxy") -> Any:
        """Convert a JavaScript value that JSON can express. Fields that are `undefined` are dropped."""
        return json.loads(self._stringify(value))

    def entries(self, headers: "js.Headers") -> dict[str, str]:
        """Make a dictionary of JavaScript's headers, which have each name once, in lower case."""
        found: dict[str, str] = self.from_javascript(self._from_entries(headers))
        return found


def into_javascript(value: object) -> "JsProxy":
    """Convert a single JSON value into a JavaScript value."""
    return Crossing().into_javascript(value)


def from_javascript(value: "JsProxy") -> Any:
    """Convert a single JavaScript value into Python."""
    return Crossing().from_javascript(value)


def says_at_most(headers: Mapping[str, str], most: int) -> bool:
    """Whether a message's headers say that its body has at most `most` bytes."""
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length) <= most


def behind(env: object) -> Any:
    """Return the JavaScript `env` inside the SDK's wrapper, None without one, as in the simulation."""
    return getattr(env, "_env", None)


def unwrapped(binding: object) -> Any:
    """Return the JavaScript binding inside the SDK's wrapper, or one without a wrapper unchanged.

    The wrapper would convert each argument and result one by one, and hide the promise that `http_client` needs.
    """
    return getattr(binding, "_binding", binding)
