"""Makes texts in JSON Schema's formats (`date`, `email` …) for the demo provider, from a digest of the call's text."""

import hashlib
from datetime import date

_FIRST_DAY = date(2000, 1, 1).toordinal()
_DAYS = 9_000  # the number of days from the year 2000 to the year 2024


def formatted(name: str, text: str) -> str:
    """Return a text of a format."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    number = int.from_bytes(digest[:4])
    day = date.fromordinal(_FIRST_DAY + number % _DAYS).isoformat()
    time = f"{digest[4] % 24:02}:{digest[5] % 60:02}:{digest[6] % 60:02}Z"
    word, whole = digest[7:10].hex(), digest.hex()
    return {
        "date": day,
        "time": time,
        "date-time": f"{day}T{time}",
        "duration": f"P{number % 90 + 10}D",
        "email": f"{word}@example.com",
        "hostname": f"{word}.example.com",
        "ipv4": f"192.0.2.{digest[10]}",
        "ipv6": f"2001:db8::{digest[11]:x}",
        "uuid": f"{whole[:8]}-{whole[8:12]}-4{whole[13:16]}-8{whole[17:20]}-{whole[20:32]}",
    }.get(name, word)
