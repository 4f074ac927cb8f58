"""JSON pointers (RFC 6901): where a fault is."""

import re
from typing import Final

POINTER_CHARS_MOST: Final = 500
_LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")

# The place of a value: the place of the value around it, and the property or index in there. None is the root.
type Place = tuple["Place", str | int] | None


def pointer_to(place: Place) -> str:
    """Write a place as a pointer.

    Property names are a client's or a model's text. So a pointer of more than POINTER_CHARS_MOST characters is cut and
    ends with "…", and lone surrogates, which UTF-8 cannot hold, become U+FFFD.
    """
    tokens: list[str] = []
    while place is not None:
        place, token = place
        tokens.append(escaped(str(token)))
    return shown("".join(f"/{token}" for token in reversed(tokens)))


def escaped(token: str) -> str:
    """Escape a property's name for use in a pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def shown(text: str, most: int = POINTER_CHARS_MOST) -> str:
    """Cut a text that is shown to a reader, and replace what UTF-8 cannot hold."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return _LONE_SURROGATES.sub("\ufffd", text)


def tokens_of(pointer: str) -> tuple[str, ...] | None:
    """Read a pointer's tokens. Return None for a text that is not a pointer."""
    if not pointer:
        return ()
    if not pointer.startswith("/") or re.search(r"~(?![01])", pointer):
        return None
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))
