"""Reads a file .dev.vars as wrangler does with dotenv: quotes, comments, values of several lines."""

import re

# The regular expression of dotenv 16, lib/main.js. `local/dev_vars.py` has the same regular expression, and a test
# compares the two.
_LINE = re.compile(
    r"""
    ^ \s* (?:export\s+)? (?P<name>[\w.-]+) (?: \s*=\s*? | :\s+? )
    (?P<value> \s*'(?:\\'|[^'])*' | \s*"(?:\\"|[^"])*" | \s*`(?:\\`|[^`])*` | [^\#\r\n]+ )?
    \s* (?:\#.*)? $
    """,
    re.VERBOSE | re.MULTILINE | re.ASCII,
)
_QUOTES = ("'", '"', "`")


def assignments(text: str) -> dict[str, str]:
    """Return the names and values that a file sets. If a name occurs twice, its last value counts."""
    found = {}
    for match in _LINE.finditer(text):
        value = (match["value"] or "").strip()
        if value[:1] in _QUOTES and value[-1:] == value[:1]:
            quote, value = value[0], value[1:-1]
            if quote == '"':
                value = value.replace("\\n", "\n").replace("\\r", "\r")
        found[match["name"]] = value
    return found


def idle_lines(text: str) -> list[int]:
    """Return the numbers, from 1 on, of the lines that set nothing and are neither empty nor comments."""
    rest = _LINE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    lines = enumerate(rest.split("\n"), 1)
    return [number for number, line in lines if line.strip() and not line.lstrip().startswith("#")]
