"""`Retry-After`: how long a server asks us to wait."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .. import limits

_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Read how long the provider asks to wait, from 0 to RATE_LIMIT_SECONDS_MOST, or None if it asks for nothing.

    `retry-after-ms` is OpenAI's own header. A date in `Retry-After` is compared with the reply's own `Date` header, so
    our own clock does not matter (RFC 9110, 10.2.3 and 6.6.1).
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return _clamped(float(text) * unit)
    until, now = _date(headers.get("retry-after")), _date(headers.get("date"))
    return None if until is None or now is None else _clamped((until - now).total_seconds())


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), limits.RATE_LIMIT_SECONDS_MOST)


def _date(text: str | None) -> datetime | None:
    if text is None or len(text) > 64:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
