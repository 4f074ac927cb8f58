"""The file of local variables: which one wrangler reads, and which lines wrangler silently ignores.

wrangler reads the values, with dotenv. This module reads the same lines with dotenv's own expression. Only `make
secrets` uses the values.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# dotenv 16, lib/main.js.
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
    """The text of a `.dev.vars` or `.env`. `is_shared` says that the file may also have variables of other programs."""

    name: str
    text: str
    is_shared: bool = False

    @property
    def names(self) -> set[str]:
        """The variables that the file sets."""
        return {match["name"] for match in _LINE.finditer(self.text)}

    def faults(self) -> list[str]:
        """Name the lines that look like assignments but set no variable. Values are never repeated."""
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
    """Return names and values as dotenv reads them. If a name stands twice, its last value counts."""
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
    """Read the file that wrangler reads for this environment. Returns None if the file is missing or cannot be read.

    The host says why it cannot be read. If several files could replace `.dev.vars`, the first one is returned.
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
