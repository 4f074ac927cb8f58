"""Finds the file of local variables that wrangler reads, and the lines in it that wrangler silently ignores.

wrangler reads the file with dotenv. This module reads the same lines with dotenv's own regular expression. Of the
commands only `make secrets` uses the values that this module reads.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# The regular expression is that of dotenv 16, lib/main.js.
_LINE = re.compile(
    r"""
    ^ \s* (?:export\s+)? (?P<name>[\w.-]+) (?: \s*=\s*? | :\s+? )
    (?P<value> \s*'(?:\\'|[^'])*' | \s*"(?:\\"|[^"])*" | \s*`(?:\\`|[^`])*` | [^\#\r\n]+ )?
    \s* (?:\#.*)? $
    """,
    re.VERBOSE | re.MULTILINE | re.ASCII,
)
_TAKES = "must be NAME=value, empty, or a comment that begins with #"


@dataclass(frozen=True, slots=True)
class SecretsFile:
    """A `.dev.vars` or `.env` file. `is_shared` says that other programs may also use the file's variables."""

    name: str
    text: str
    is_shared: bool = False

    @property
    def names(self) -> set[str]:
        """Return the names of the variables that the file sets."""
        return {match["name"] for match in _LINE.finditer(self.text)}

    def faults(self) -> list[str]:
        """Return a fault for each line that looks like an assignment but sets no variable.

        No fault contains a value.
        """
        faults: list[tuple[int, str]] = []
        rest = self.text
        for match in _LINE.finditer(self.text):
            value = (match["value"] or "").strip()
            if value[:1] in {"'", '"', "`"} and (len(value) == 1 or value[-1] != value[0]):
                faults.append((self._line(match.start("name")), "has a quote that is not closed"))
            blank = re.sub(r"[^\n]", " ", match[0])
            rest = rest[: match.start()] + blank + rest[match.end() :]
        for number, line in enumerate(rest.split("\n"), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                faults.append((number, _TAKES))
        return [f"line {number} of {self.name} {what}" for number, what in sorted(faults)]

    def _line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1


def assignments(text: str) -> dict[str, str]:
    """Return names and values as dotenv reads them. If a text sets a name twice, the last value counts."""
    found = {}
    for match in _LINE.finditer(text):
        value = (match["value"] or "").strip()
        if value[:1] in {"'", '"', "`"} and value[-1:] == value[:1]:
            quote, value = value[0], value[1:-1]
            if quote == '"':
                value = value.replace("\\n", "\n").replace("\\r", "\r")
        found[match["name"]] = value
    return found


def find(project: Path, env: str | None) -> SecretsFile | None:
    """Read the file that wrangler reads for this environment.

    Returns None if the file of variables is missing or cannot be read.

    If the file cannot be read, the host reports why. The first existing file of `.dev.vars.ENV`, `.dev.vars` and `.env`
    counts.
    """
    own = [f".dev.vars.{env}"] if env else []
    for name in (*own, ".dev.vars", ".env"):
        path = project / name
        if path.exists():
            try:
                text = path.read_text("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
            except OSError:
                return None
            return SecretsFile(name, text, is_shared=name == ".env")
    return None
