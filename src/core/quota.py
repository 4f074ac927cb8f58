"""Recognizes errors of a used-up daily allowance of the free plan, and tells when the next day's allowances begin.

As of November 2026, the platform's error texts are: for D1 "Your account has exceeded D1's free tier daily row write
limit" (Debug D1, List of D1_ERRORs); for Durable Objects "Exceeded allowed duration in Durable Objects free tier", with
similar texts for rows and request volume; for Queues the error code 10253, FreeTierLimitExceeded (Queues error codes).
"""

import re

_USED_UP = re.compile(r"free[ _-]?tier|\b10253\b", re.IGNORECASE)
_DAY_MS = 86_400_000


def is_used_up(message: str) -> bool:
    """Whether an error's text says that a daily allowance of the free plan is used up.

    A used-up allowance is no outage, because the allowance is renewed at midnight UTC.
    """
    return _USED_UP.search(message) is not None


def seconds_since_reset(now_ms: int) -> float:
    """Return the seconds since midnight UTC."""
    return now_ms % _DAY_MS / 1000


def seconds_until_reset(now_ms: int) -> int:
    """Return the seconds until midnight UTC, when all daily allowances begin anew."""
    return -(-(_DAY_MS - now_ms % _DAY_MS) // 1000)
