"""Counts the lines of Python that a piece of work takes: its cost, the same on each machine, however busy."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType

_TOOL = 4  # of `sys.monitoring`: one that it reserves for nobody


class Steps:
    """How many lines have been executed so far."""

    lines = 0


@contextmanager
def counted(*modules: ModuleType) -> Iterator[Steps]:
    """Count the lines that functions of these modules execute, as often as they do; what C does counts for nothing."""
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
        monitoring.restart_events()  # what an earlier count has disabled
        monitoring.set_events(_TOOL, monitoring.events.LINE)
        yield steps
    finally:
        monitoring.set_events(_TOOL, monitoring.events.NO_EVENTS)
        monitoring.free_tool_id(_TOOL)
