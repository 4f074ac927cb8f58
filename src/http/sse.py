"""Server-sent events as text (HTML Standard, "Server-sent events"). JSON has no line breaks, so data is one line."""

import json

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Content-Type": MEDIA_TYPE}

COMMENT = ":\n\n"


def event(name: str, data: object, event_id: str | None = None) -> str:
    """Write an event."""
    return f"{opened(name, event_id)}{json.dumps(data, ensure_ascii=False)}{CLOSED}"


def opened(name: str, event_id: str | None = None) -> str:
    """Write what stands before an event's data, where that is sent in parts."""
    named = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{named}data: "


CLOSED = "\n\n"


def come_back(milliseconds: int) -> str:
    """Ask the client of a stream that ends early to come back after so long."""
    return f"retry: {milliseconds}\n\n"
