"""Finds the fix for a failure in wrangler's output, by the table in fixes.toml."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

RUN_AGAIN = "Then run the same command again: it continues where it stopped."


@dataclass(frozen=True, slots=True)
class Fix:
    """One kind of failure and its fix.

    `id` never changes. `pattern` is None if the project's code finds the failure.
    """

    id: str
    pattern: re.Pattern[str] | None
    text: str


def _read() -> dict[str, Fix]:
    found = {}
    for entry in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["fix"]:
        pattern = re.compile("|".join(entry["pattern"]), re.IGNORECASE) if "pattern" in entry else None
        text = f"{entry['text']} {RUN_AGAIN}" if entry.get("again", True) else entry["text"]
        found[entry["id"]] = Fix(entry["id"], pattern, text)
    return found


FIXES = _read()


def fix_for(said: str) -> Fix:
    """Return the fix that fits wrangler's output, or the fix `unknown`.

    Warnings before the error are left out, because they are not its cause: with ENV=direct wrangler always warns about
    wrangler.toml.
    """
    _, mark, error = said.partition("[ERROR]")
    said = error if mark else said
    return next((fix for fix in FIXES.values() if fix.pattern and fix.pattern.search(said)), FIXES["unknown"])
