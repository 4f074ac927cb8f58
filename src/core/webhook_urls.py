"""Decides which URLs a webhook may be sent to.

The rules for webhook URLs keep the Worker from sending requests to places that the client could not reach itself. The
check compares a webhook's URL with patterns, and accepts only what every URL parser reads in the same way. Therefore no
URL parser can change an accepted URL by a repair, such as dropping tabs, turning backslashes into slashes, or replacing
dots of other scripts. The check does not resolve host names: the platform must refuse a private address behind a public
name (decision 0028).
"""

import re

from . import limits

TAKES = "https, on port 443, to a public name with a dot in it: no address, no user info, no fragment"

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label of a host name must contain letters, and must not look like 0x7f, because otherwise the name would be
# an IP address.
_TOP = "(?:[a-z]{2,63}|xn--[a-z0-9-]{1,58}[a-z0-9])"
# The rest of the URL, after the host, is ASCII without a fragment or backslash.
_TAIL = r"(?:[/?][!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]*)?"
# Without re.ASCII, the patterns would also match letters that fold to ASCII ones: the long s, the Kelvin sign, the i
# without a dot.
_PUBLIC = re.compile(rf"(?i:https)://(?P<host>(?i:(?:{_LABEL}\.)+{_TOP}))(?::443)?{_TAIL}", re.ASCII)
_LOOPBACK = re.compile(rf"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::(?P<port>[1-9][0-9]{{0,4}}))?{_TAIL}")

_HOST_CHARS_MOST = 253  # The longest host name that RFC 1035 allows.
# Top-level names that are not public: for use inside a network, or for no use at all (RFC 6761, 6762, 7686, 8375, 9476;
# ICANN: .internal; router defaults).
_INTERNAL = frozenset(
    [
        "localhost",
        "localdomain",
        "local",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "private",
        "arpa",
        "test",
        "example",
        "invalid",
        "onion",
        "alt",
    ]
)
# Public domains whose names resolve to an address that the name contains, or to the machine itself.
_SPELT = ("nip.io", "sslip.io", "xip.io", "traefik.me", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com")


def refusal(url: str, *, loopback: bool = False) -> str | None:
    """Return why a webhook may not be sent to a URL, or None if the webhook may be sent.

    `loopback` says that the machine of the Worker itself is allowed, on any port.
    """
    if len(url) > limits.WEBHOOK_URL_CHARS_MOST:
        return f"must have at most {limits.WEBHOOK_URL_CHARS_MOST} characters"
    if loopback and (found := _LOOPBACK.fullmatch(url)) is not None and int(found["port"] or 80) <= 65_535:
        return None
    found = _PUBLIC.fullmatch(url)
    if found is None:
        return f"must be a URL of {TAKES}"
    host = found["host"].lower()
    return _flaw_of_name(host)


def _flaw_of_name(host: str) -> str | None:
    if len(host) > _HOST_CHARS_MOST:
        return f"must have a host name of at most {_HOST_CHARS_MOST} characters"
    if host.rpartition(".")[2] in _INTERNAL:
        return "must not have a host name that only a private network knows"
    if any(host == name or host.endswith(f".{name}") for name in _SPELT):
        return "must not have a host name that spells out an address"
    return None
