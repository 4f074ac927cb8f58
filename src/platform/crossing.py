"""Whole values between Python and JavaScript, each in one crossing, as JSON.

Value by value a crossing costs some microseconds; the SDK's conversion, which asks each value what it is, some tens. A
row of D1 has forty.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import js
    from pyodide.ffi import JsProxy


def into_javascript(value: object) -> "JsProxy":
    """Make JavaScript's form of what JSON can say; None becomes `null`."""
    import js

    return js.JSON.parse(json.dumps(value, ensure_ascii=False))


def from_javascript(value: "JsProxy") -> Any:
    """Read what JSON can say; `null` becomes None, and `undefined` in an object is left out."""
    import js

    return json.loads(js.JSON.stringify(value))


def entries(headers: "js.Headers") -> dict[str, str]:
    """Read headers. JavaScript has their names in lower case, each once."""
    import js

    found: dict[str, str] = from_javascript(js.Object.fromEntries(headers))
    return found


def unwrapped(binding: object) -> Any:
    """Return JavaScript's own binding of the SDK's wrapper, or what has no wrapper as it is.

    The wrapper converts each argument and each result. Its `fetch` keeps the promise to itself (see `http_client`).
    """
    return getattr(binding, "_binding", binding)
