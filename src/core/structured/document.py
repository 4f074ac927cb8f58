"""Checks that an output schema is JSON of a bounded size and depth, with finite numbers and whole characters."""

import json
from math import isfinite

from ..limits import SCHEMA_BYTES_MOST
from .equality import DEPTH_MOST
from .keywords import refused
from .pointers import Place

_MAGNITUDE_MOST = 10**309  # Integers from 10**309 on are beyond the largest double.


def check_document(document: object) -> None:
    """Refuse a schema document that is too large, too deep or not JSON, before it is compiled. Raises SchemaRefused.

    The check of the document stops as soon as the document is surely too large: `size` is how many bytes of compact
    JSON what was read takes at least. The check does not recurse.
    """
    waiting: list[tuple[object, Place, int]] = [(document, None, 1)]
    size = 0
    while waiting:
        value, place, depth = waiting.pop()
        if isinstance(value, list | dict):
            size += 1 + max(len(value), 1)  # brackets and commas
        else:
            size += 2 + len(value) if isinstance(value, str) else 1
        if isinstance(value, dict):
            size += 3 * len(value)  # quotation marks and colons
        if size > SCHEMA_BYTES_MOST:
            raise _too_large()
        if depth > DEPTH_MOST and isinstance(value, list | dict):
            raise refused(place, f"The schema is nested more than {DEPTH_MOST} deep as JSON.")
        if isinstance(value, dict):
            members = list(value.items())
            for name, _ in members:
                _check_text(name, (place, name) if isinstance(name, str) else place)
            waiting.extend((member, (place, name), depth + 1) for name, member in reversed(members))
        elif isinstance(value, list):
            waiting.extend((value[index], (place, index), depth + 1) for index in reversed(range(len(value))))
        else:
            _check_scalar(value, place)
    if len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()) > SCHEMA_BYTES_MOST:
        raise _too_large()


def _too_large() -> Exception:
    return refused(None, f"The schema has more than {SCHEMA_BYTES_MOST:,} bytes as compact JSON.")


def _check_scalar(value: object, place: Place) -> None:
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, float):
        if not isfinite(value):
            raise refused(place, "This number is not finite.")
    elif isinstance(value, int):
        if not is_finite_integer(value):
            raise refused(place, "This number is larger than the largest double.")
    elif value is not None:
        raise refused(place, "This is not JSON.")


def is_finite_integer(value: int) -> bool:
    """Whether an integer is not beyond the largest double."""
    if not -_MAGNITUDE_MOST < value < _MAGNITUDE_MOST:
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _check_text(text: object, place: Place) -> None:
    if not isinstance(text, str):
        raise refused(place, "A name of a property is not a text.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refused(place, "This text holds half of a surrogate pair, which is not a character.") from None
