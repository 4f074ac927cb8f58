"""Counts the lines of Python that some work executes: this measures its cost in the same way on every machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType

_TOOL = 4  # a tool id of `sys.monitoring` that no kind of tool has reserved


class Steps:
    """The number of lines executed so far."""

    lines = 0


@contextmanager
def counted(*modules: ModuleType) -> Iterator[Steps]:
    """Count each line that functions of these modules execute, each time that it runs. C code does not count."""
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
        monitoring.restart_events()  # undo what an earlier count has disabled
        monitoring.set_events(_TOOL, monitoring.events.LINE)
        yield steps
    finally:
        monitoring.set_events(_TOOL, monitoring.events.NO_EVENTS)
        monitoring.free_tool_id(_TOOL)
