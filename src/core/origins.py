"""Parses web origins, in the form in which browsers write them in the header `Origin` (RFC 6454, section 6.2)."""

import re

TAKES = (
    "web origins as browsers send them, separated by commas: http or https, a host in lower case, a port unless it "
    "is the scheme's own, no path, no slash at the end, no *"
)

_ORIGIN = re.compile(
    r"""
    (?P<scheme>https?)://
    (?: (?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*      # a name or an IPv4 address
        [a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?
      | \[[0-9a-f:.]{2,45}\] )                             # an IPv6 address
    (?: :(?P<port>[1-9][0-9]{0,4}) )?
    """,
    re.VERBOSE,
)
_OWN_PORTS = {"http": 80, "https": 443}
_PORT_MOST = 65_535


def parse_origins(text: str) -> frozenset[str]:
    """Read a list of web origins, separated by commas.

    Raises ValueError if one of the texts is not an origin that a browser could send.
    """
    found = [part.strip() for part in text.split(",")]
    if not all(map(_is_origin, found)):
        raise ValueError("not an origin")
    return frozenset(found)


def _is_origin(text: str) -> bool:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return False
    port = int(match["port"] or 0)
    return port <= _PORT_MOST and port != _OWN_PORTS[match["scheme"]]
