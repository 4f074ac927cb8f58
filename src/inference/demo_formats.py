"""Makes texts in JSON Schema's formats (`date`, `email` …) for the demo provider, from a digest of the call's text."""

import hashlib
from collections.abc import Iterator
from datetime import date

_FIRST_DAY = date(2000, 1, 1).toordinal()
_DAYS = 9_000  # the number of days from the year 2000 to the year 2024
_LABEL_CHARS_MOST = 63


def formatted(name: str, text: str, least: int, most: float) -> str | None:
    """Return a text of a format with `least` to `most` characters; None if there is none, or only a rare one."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    return next((one for one in _texts(name, digest, least) if least <= len(one) <= most), None)


def _texts(name: str, digest: bytes, least: int) -> Iterator[str]:
    """Yield texts of a format: a usual one, a short one, and if possible a text of at least `least` characters."""
    number = int.from_bytes(digest[:4])
    day = date.fromordinal(_FIRST_DAY + number % _DAYS).isoformat()
    time = f"{digest[4] % 24:02}:{digest[5] % 60:02}:{digest[6] % 60:02}"
    word = digest[7:10].hex()
    more = "0" * max(1, least - 10) if least < 1_000 else "0"
    match name:
        case "date":
            yield day
        case "time":
            yield from (f"{time}Z", f"{time}.{more}Z")
        case "date-time":
            yield from (f"{day}T{time}Z", f"{day}T{time}.{more}Z")
        case "duration":
            yield from (f"P{number % 90 + 10}D", "P1D", f"P1{more}D")
        case "email":
            yield from (f"{word}@example.com", "a@b.co", f"a{more}@example.com")
        case "hostname":
            yield from (f"{word}.example.com", "a", ".".join(_labels(least)))
        case "ipv4":
            yield from (f"192.0.2.{digest[10]}", "9.9.9.9", "198.51.100.200")
        case "ipv6":
            yield from (f"2001:db8::{digest[11]:x}", "::", ":".join(["2001", "0db8"] + ["0001"] * 6))
        case "uuid":
            whole = digest.hex()
            yield f"{whole[:8]}-{whole[8:12]}-4{whole[13:16]}-8{whole[17:20]}-{whole[20:32]}"
        case _:
            yield word


def _labels(chars: int) -> Iterator[str]:
    """Yield the labels of a host name that has at least `chars` and at most 253 characters."""
    left = min(chars, 253)
    while left > 0:
        yield "a" * min(left, _LABEL_CHARS_MOST)
        left -= _LABEL_CHARS_MOST + 1
