"""Writes structured logs: a line of JSON for each event, never with a text, an output, a key or metadata."""

import json
import logging
from collections.abc import Callable, Mapping

from ..domain.errors import ConfigurationError
from ..domain.ids import TaskKey, split_task_key

VALUE_CHARS_MOST = 500
_ENCODE = json.JSONEncoder(separators=(",", ":"), default=str).encode


class Log:
    """Writes events with `write`, and adds to each event the facts that are bound to the log."""

    def __init__(self, write: Callable[[str], None], facts: Mapping[str, object] | None = None) -> None:
        self._write = write
        self._facts = dict(facts or {})

    def bind(self, **facts: object) -> "Log":
        """Return a log whose events contain the given facts in addition to this log's facts."""
        return Log(self._write, self._facts | facts)

    def note(self, **facts: object) -> None:
        """Add the given facts to all later events of this log, and of logs that are bound to this log later."""
        self._facts |= facts

    def __call__(self, event: str, **facts: object) -> None:
        """Write one event: facts that are None are left out, strings are cut, and a task's key becomes two facts."""
        line = {"event": event} | self._facts | facts
        if isinstance(key := line.get("task"), str):
            tenant, line["task"] = split_task_key(TaskKey(key))
            line["tenant"] = tenant or None
        kept = {name: _bounded(value) for name, value in line.items() if value is not None}
        self._write(_ENCODE(kept))

    def misconfigured(self, error: ConfigurationError, **facts: object) -> None:
        """Write the event `bad_configuration`, with the name of the variable that has a bad value."""
        self("bad_configuration", variable=error.variable, error=str(error), **facts)

    def failure(self, event: str, error: BaseException, **facts: object) -> None:
        """Write an event with the type of an error, and print the error's traceback to the terminal."""
        self(event, error=type(error).__name__, **facts)
        logging.getLogger("onceover").error(event, exc_info=error)


def _bounded(value: object) -> object:
    return value[:VALUE_CHARS_MOST] if isinstance(value, str) else value
