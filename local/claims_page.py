"""Makes the table of `docs/verification.md` from `docs/verification/claims.json`. `local.docs` writes the table.

`python -m local.claims_page` prints how many commits of `src` have landed since each campaign; a page cannot say so,
since the number changes with each commit.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from simulator.campaign.ablations import BY_NAME

from .node import ROOT

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
    date: str  # The day of the last campaign's commit; empty if there was none.


def claims(root: Path) -> list[TestedClaim]:
    """Return the claims in `docs/verification/claims.json` below `root`, in the file's order."""
    text = (root / CLAIMS).read_text(encoding="utf-8")
    for name, number in counts().items():
        text = text.replace(f"{{{name}}}", str(number))
    return [TestedClaim(*(claim[field] for field in TestedClaim._fields)) for claim in json.loads(text)["claims"]]


def counts() -> dict[str, int]:
    """Return what claims count, by the name that stands in braces in the file of claims."""
    refusals = (ROOT / "tests" / "support" / "refusals.toml").read_text(encoding="utf-8").count("[[refusal]]")
    return {"ablations": len(BY_NAME), "refusals": refusals}


def with_table(text: str, root: Path) -> str:
    """Return a document with the table of claims between its two marks. Raises `TableMissing`."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after:
        raise TableMissing("docs/verification.md must have one place for the table of claims")
    newest = json.loads((root / CLAIMS).read_text(encoding="utf-8"))["newest_migration"]["date"]
    return "\n".join((f"{before}{BEGIN}\n", *_lines(claims(root), newest), f"\n{END}{after}"))


def _lines(found: list[TestedClaim], newest: str) -> Iterator[str]:
    yield "| claim | cases | tests | tier | ablations that the tests notice | last campaign |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for claim in found:
        tests = ", ".join(f"`{path}`" for path in claim.tests)
        without = ", ".join(f"`{name}`" for name in claim.without)
        age = ", *old*" if claim.date < newest else ""
        latest = f"{claim.latest} ({claim.date}{age})" if claim.latest else ""
        yield f"| {claim.claim} | {claim.cases} | {tests} | {claim.tier} | {without} | {latest} |"


def main() -> None:
    """Print for each campaign its commit, its day, and how many commits of `src` have landed since."""
    for claim in claims(ROOT):
        for commit in re.findall(r"\b(?=\w*[a-f])[0-9a-f]{7,8}\b", claim.latest):
            command = ["git", "rev-list", "--count", f"{commit}..HEAD", "--", "src"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            print(f"{commit:8}  {claim.date}  {done.stdout.strip() or 'unknown':>7}  {claim.claim[:80]}")


if __name__ == "__main__":
    main()
