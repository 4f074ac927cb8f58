"""Writes and reads JSON pointers (RFC 6901), which say where a fault is in an output or a schema."""

import re
from typing import Final

POINTER_CHARS_MOST: Final = 500
_LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")

# A `Path` is where a value is: the place of the object or array around it, and its property or index there. The root
# is None.
type Path = tuple["Path", str | int] | None


def tokens_to(path: Path) -> list[str | int]:
    """Return the properties and indexes that lead from the root to a path."""
    tokens = list[str | int]()
    while path is not None:
        path, token = path
        tokens.append(token)
    tokens.reverse()
    return tokens


def pointer_to(path: Path) -> str:
    """Write a place as a JSON pointer.

    The names in it are a client's or a model's text, and may be long or broken: see `shown`.
    """
    return shown("".join(f"/{escaped(str(token))}" for token in tokens_to(path)))


def escaped(token: str) -> str:
    """Escape a property's name for use in a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def shown(text: str, most: int = POINTER_CHARS_MOST) -> str:
    """Cut a text that a reader sees, with "…" at the end, and replace lone surrogates, which UTF-8 cannot encode."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return _LONE_SURROGATES.sub("\ufffd", text)


def tokens_of(pointer: str) -> tuple[str, ...] | None:
    """Split a JSON pointer into its tokens. Returns None for a text that is not a JSON pointer."""
    if not pointer:
        return ()
    if not pointer.startswith("/") or re.search(r"~(?![01])", pointer):
        return None
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))
