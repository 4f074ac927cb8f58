"""Checks the nine supported `format`s of strings in linear time, without regular expressions of clients.

Each regular expression of this module reads a bounded number of characters, or repeats only possessively, so none
backtracks.
"""

import re
from collections.abc import Callable
from typing import Final

_DAY = r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = rf"{_CLOCK}:[0-5][0-9](?:\.[0-9]++)?(?:[Zz]|[+-]{_CLOCK})"
_DATE, _TIME, _DATE_TIME = re.compile(_DAY), re.compile(_HOURS), re.compile(f"{_DAY}[Tt]{_HOURS}")
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DURATION = re.compile(
    r"P(?:[0-9]++W|(?=[0-9T])(?:[0-9]++Y)?(?:[0-9]++M)?(?:[0-9]++D)?"
    r"(?:T(?=[0-9])(?:[0-9]++H)?(?:[0-9]++M)?(?:[0-9]++(?:\.[0-9]++)?S)?)?)"
)
_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?+"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*+"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HOSTNAME, _IPV4 = re.compile(_HOST), re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_HEX = r"[0-9A-Fa-f]{1,4}"
_GROUP = re.compile(_HEX)
_ALL_GROUPS = re.compile(f"{_HEX}(?::{_HEX}){{7}}")
_SOME_GROUPS = re.compile(f"(?:{_HEX}(?::{_HEX})*+)?::(?:{_HEX}(?::{_HEX})*+)?")
_ATOM = r"[^\x00-\x20()<>\[\]:;@\\,.\"\x7f]++"
_ATOMS = rf"{_ATOM}(?:\.{_ATOM})*+"
_LOCAL, _MAILBOX = re.compile(_ATOMS), re.compile(f"({_ATOMS})@({_HOST})")
_QUOTED = re.compile(r'"(?:[^\x00-\x1f"\\\x7f]|\\[^\x00-\x1f\x7f])*+"')
_LOCAL_OCTETS_MOST, _DOMAIN_CHARS_MOST = 64, 253  # RFC 5321, 4.5.3.1.1; RFC 1123


def _is_day(found: re.Match[str] | None) -> bool:
    """Whether the day, month and year that begin a text exist."""
    if found is None or found[1] == "0000":  # clients' parsers refuse this year
        return False
    if found[3] <= "28":
        return True
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= _DAYS[month - 1] + (is_leap and month == 2)


def is_email(text: str) -> bool:
    """Whether the text is a `Mailbox` of RFC 5321. Letters of any script may precede the @ (RFC 6531)."""
    if found := _MAILBOX.fullmatch(text):
        return len(found[2]) <= _DOMAIN_CHARS_MOST and len(found[1].encode("utf-8", "replace")) <= _LOCAL_OCTETS_MOST
    local, at, domain = text.rpartition("@")
    if not at or not 1 <= len(local.encode("utf-8", "replace")) <= _LOCAL_OCTETS_MOST:
        return False
    if not (_QUOTED.fullmatch(local) or _LOCAL.fullmatch(local)):
        return False
    if domain.startswith("[") and domain.endswith("]"):
        inside = domain[1:-1]
        return is_ipv6(inside[5:]) if inside[:5].lower() == "ipv6:" else is_ipv4(inside)
    return is_hostname(domain)


def is_hostname(text: str) -> bool:
    """Whether a text is a host name (RFC 1123, 2.1): up to 253 characters, labels of up to 63, no dot at the end."""
    return len(text) <= _DOMAIN_CHARS_MOST and _HOSTNAME.fullmatch(text) is not None


def is_ipv4(text: str) -> bool:
    """Whether the text is an IPv4 address of RFC 2673, 3.2: four numbers below 256, without leading zeros."""
    return _IPV4.fullmatch(text) is not None


def is_ipv6(text: str) -> bool:
    """Whether the text is an IPv6 address of RFC 4291, 2.2, without a zone: eight groups of hexadecimal digits.

    `::` may replace some of them once, and an IPv4 address the last two.
    """
    if not 2 <= len(text) <= 45:
        return False
    if "." not in text:
        if _SOME_GROUPS.fullmatch(text):
            return text.count(":") - text.startswith(":") - text.endswith(":") <= 7
        return _ALL_GROUPS.fullmatch(text) is not None
    head, gap, tail = text.partition("::")
    if "::" in tail:
        return False
    before, after = _groups(head, is_end=not gap), _groups(tail, is_end=True)
    if before is None or after is None:
        return False
    return before + after <= 7 if gap else before == 8


def _groups(text: str, *, is_end: bool) -> int | None:
    """Count the groups of 16 bits in a part of an IPv6 address; None if it is none. An IPv4 address has two."""
    if not text:
        return 0
    *groups, last = text.split(":")
    count = len(groups) + 1
    if is_end and "." in last:
        if not is_ipv4(last):
            return None
        count += 1
    else:
        groups.append(last)
    return count if all(_GROUP.fullmatch(group) for group in groups) else None


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "date-time": lambda text: _is_day(_DATE_TIME.fullmatch(text)),  # RFC 3339: a date, T, and a time with an offset
    "date": lambda text: _is_day(_DATE.fullmatch(text)),  # a `full-date` of RFC 3339
    # A `full-time` of RFC 3339, with an offset. Leap seconds are refused, because clients' parsers refuse them.
    "time": _matches(_TIME),
    # RFC 3339, appendix A, such as P3Y6M or P2W. As in ISO 8601, but unlike there, a unit between two others may be
    # left out (P1Y2D), and seconds may have a fraction (PT1.5S).
    "duration": _matches(_DURATION),
    "email": is_email,
    "hostname": is_hostname,
    "ipv4": is_ipv4,
    "ipv6": is_ipv6,
    "uuid": _matches(_UUID),  # RFC 9562, 4: 32 hexadecimal digits in five groups
}
