"""Server-sent events as text (HTML Standard, "Server-sent events"). JSON is one line.

For clients that split a stream into lines as Unicode does (Python's `splitlines`), U+0085, U+2028 and U+2029 end a
line too, and JSON may contain these characters unescaped.
"""

import json

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Content-Type": MEDIA_TYPE}

COMMENT = ":\n\n"


def event(name: str, data: object, event_id: str | None = None) -> str:
    """Write an event."""
    return f"{opened(name, event_id)}{escaped(json.dumps(data, ensure_ascii=False))}{CLOSED}"


def opened(name: str, event_id: str | None = None) -> str:
    """Write the beginning of an event whose data is sent in parts."""
    named = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{named}data: "


CLOSED = "\n\n"
_BREAKS = tuple((mark, f"\\u{ord(mark):04x}") for mark in "\x85\u2028\u2029")


def escaped(text: str) -> str:
    """Escape the characters in JSON, or in a part of it, that some clients take for the end of a line."""
    for mark, escape in _BREAKS:
        text = text.replace(mark, escape)
    return text


def come_back(milliseconds: int) -> str:
    """Ask the client of a stream that ends early to come back after `milliseconds`."""
    return f"retry: {milliseconds}\n\n"
