"""Stand-ins for the modules through which Pyodide shows JavaScript to Python."""

import sys
from types import ModuleType
from typing import Any

import pytest


class JsError(Exception):
    """The error that a rejected JavaScript promise raises in Python."""


def stand_in(patch: pytest.MonkeyPatch, js: dict[str, Any], ffi: dict[str, Any] | None = None) -> None:
    """Put the members of `js` and `pyodide.ffi` where the platform's code imports them."""
    for name, members in (("js", js), ("pyodide.ffi", {"JsException": JsError} if ffi is None else ffi)):
        module = ModuleType(name)
        vars(module).update(members)
        patch.setitem(sys.modules, name, module)
