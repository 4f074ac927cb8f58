"""Counts the lines of Python that code executes, which measures its cost equally on every machine, and notes calls."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any

import pytest

_TOOL = 4  # A tool id of `sys.monitoring` that is not reserved for a certain kind of tool.


class Steps:
    """The number of lines of Python that were executed so far."""

    lines = 0


@contextmanager
def counted(*modules: ModuleType) -> Iterator[Steps]:
    """Count executed lines of the modules' functions, without code in C."""
    steps = Steps()
    files = {module.__file__ for module in modules}
    monitoring = sys.monitoring

    def executed(code: CodeType, _number: int) -> object:
        if code.co_filename not in files:
            return monitoring.DISABLE
        steps.lines += 1
        return None

    monitoring.use_tool_id(_TOOL, "steps")
    try:
        monitoring.register_callback(_TOOL, monitoring.events.LINE, executed)
        monitoring.restart_events()  # An earlier count may have switched off events, which must be switched on again.
        monitoring.set_events(_TOOL, monitoring.events.LINE)
        yield steps
    finally:
        monitoring.set_events(_TOOL, monitoring.events.NO_EVENTS)
        monitoring.free_tool_id(_TOOL)


def noted(patch: pytest.MonkeyPatch, owner: object, name: str) -> list[tuple[Any, ...]]:
    """Return the arguments of each call to come of an asynchronous method. A class's method has `self` among them."""
    calls, method = list[tuple[Any, ...]](), getattr(owner, name)

    async def note(*arguments: Any) -> Any:
        calls.append(arguments)
        return await method(*arguments)

    patch.setattr(owner, name, note)
    return calls
