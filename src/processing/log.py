"""Structured logs: one JSON line an event. No event contains a text, an output, a key or metadata."""

import json
import logging
from collections.abc import Callable, Mapping

from ..core.errors import ConfigurationError
from ..core.ids import TaskKey, split_task_key

VALUE_CHARS_MOST = 500
_ENCODE = json.JSONEncoder(separators=(",", ":"), default=str).encode


class Log:
    """Writes events through `write`, each with the facts that are bound to the log."""

    def __init__(self, write: Callable[[str], None], facts: Mapping[str, object] | None = None) -> None:
        self._write = write
        self._facts = dict(facts or {})

    def bind(self, **facts: object) -> "Log":
        """Return a log whose events contain these facts too."""
        return Log(self._write, self._facts | facts)

    def note(self, **facts: object) -> None:
        """Let all later events contain these facts too, also those of logs that are bound from now on."""
        self._facts |= facts

    def __call__(self, event: str, **facts: object) -> None:
        """Write one event. Facts that are None are left out, strings are bounded, a task's key is shown in parts."""
        line = {"event": event} | self._facts | facts
        if isinstance(key := line.get("task"), str):
            tenant, line["task"] = split_task_key(TaskKey(key))
            line["tenant"] = tenant or None
        kept = {name: _bounded(value) for name, value in line.items() if value is not None}
        self._write(_ENCODE(kept))

    def misconfigured(self, error: ConfigurationError, **facts: object) -> None:
        """Write the event of a variable that has a bad value, by the variable's name."""
        self("bad_configuration", variable=error.variable, error=str(error), **facts)

    def failure(self, event: str, error: BaseException, **facts: object) -> None:
        """Write an event for an error, and its traceback for the terminal; the event names its type only."""
        self(event, error=type(error).__name__, **facts)
        logging.getLogger("onceover").error(event, exc_info=error)


def _bounded(value: object) -> object:
    return value[:VALUE_CHARS_MOST] if isinstance(value, str) else value
