"""Makes the table of `docs/verification.md` from `docs/verification/claims.json`. `local.docs` writes the table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CLAIMS = Path("docs/verification/claims.json")
BEGIN = "<!-- `make docs` makes this table from verification/claims.json. -->"
END = "<!-- End of the table. -->"


class TableMissing(Exception):
    """Raised when a document has no place for the table, or several.

    The message of `TableMissing` is one line for the user.
    """


class TestedClaim(NamedTuple):
    """A claim about onceover, and how it is tested. Only the JSON file of claims has the runs of past campaigns."""

    claim: str
    cases: str
    tests: list[str]
    tier: str
    without: list[str]  # The names of the ablations that the claim's tests notice.
    latest: str  # The figures of the claim's last campaign; empty if there are none.


def claims(root: Path) -> list[TestedClaim]:
    """Return the claims in `docs/verification/claims.json` below `root`, in the file's order."""
    found = json.loads((root / CLAIMS).read_text(encoding="utf-8"))["claims"]
    return [TestedClaim(*(claim[field] for field in TestedClaim._fields)) for claim in found]


def with_table(text: str, root: Path) -> str:
    """Return a document with the table of claims between its two marks. Raises `TableMissing`."""
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
