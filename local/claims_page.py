"""The table of `docs/verification.md`, made from `docs/verification/claims.json`. `local.docs` writes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CLAIMS = Path("docs/verification/claims.json")
BEGIN = "<!-- `make docs` makes this table from verification/claims.json. -->"
END = "<!-- End of the table. -->"


class TableMissing(Exception):
    """The document has no place for the table, or more than one; the message is one line for the user."""


class TestedClaim(NamedTuple):
    """A claim and how it is tested. The runs of past campaigns are in the file alone."""

    claim: str
    cases: str
    tests: list[str]
    tier: str
    without: list[str]  # The ablations that the tests notice.
    latest: str  # The figures of this claim's own last campaign; empty for a claim without figures.


def claims(root: Path) -> list[TestedClaim]:
    """Return the claims of the file below `root`, in its order."""
    found = json.loads((root / CLAIMS).read_text(encoding="utf-8"))["claims"]
    return [TestedClaim(*(claim[field] for field in TestedClaim._fields)) for claim in found]


def with_table(text: str, root: Path) -> str:
    """Return the document with the table between its two marks. Raises `TableMissing`."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after:
        raise TableMissing("docs/verification.md must have one place for the table of claims")
    return "\n".join((f"{before}{BEGIN}\n", *_lines(claims(root)), f"\n{END}{after}"))


def _lines(found: list[TestedClaim]) -> Iterator[str]:
    yield "| claim | cases | tests | tier | ablations that the tests notice | last campaign |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for claim in found:
        tests = ", ".join(f"`{path}`" for path in claim.tests)
        without = ", ".join(f"`{name}`" for name in claim.without)
        yield f"| {claim.claim} | {claim.cases} | {tests} | {claim.tier} | {without} | {claim.latest} |"
