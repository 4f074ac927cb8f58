"""Makes the table of `docs/verification/claims.md` from a file of claims, and names the last report of a release."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from simulator.campaign.ablations import BY_NAME

from .node import ROOT

CLAIMS = Path("docs/verification/claims.json")
REPORTS = Path("docs/releases")
BEGIN = "<!-- `make docs` makes this table from claims.json. -->"
END = "<!-- End of the table. -->"
_LAST_REPORT = re.compile(r"(?<=^## The last report\n\n).*?(?=\n\n)", re.DOTALL | re.MULTILINE)


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
        raise TableMissing("docs/verification/claims.md must have one place for the table of claims")
    return "\n".join((f"{before}{BEGIN}\n", *_lines(claims(root)), f"\n{END}{after}"))


def with_last_report(text: str, root: Path) -> str:
    """Return a document whose paragraph on the last report names the newest one in `docs/releases`, and the others."""
    found = [(path.stem, json.loads(path.read_text("utf-8"))) for path in (root / REPORTS).glob("*.json")]
    reports = sorted(found, key=lambda one: [int(part) for part in one[0].split(".")], reverse=True)
    return _LAST_REPORT.sub(lambda _: _told(reports), text)


def _told(reports: list[tuple[str, dict[str, Any]]]) -> str:
    if not reports:
        return "There is none yet: `make release` writes one for each release into `docs/releases`."
    links = [f"[{version}](releases/{version}.md) ({report['date']})" for version, report in reports]
    earlier = f" Earlier ones: {', '.join(links[1:])}." if links[1:] else ""
    return f"{links[0]}: two minutes to read.{earlier} `make release` writes one for each release."


def _lines(found: list[TestedClaim]) -> Iterator[str]:
    yield "| claim | cases | tests | tier | ablations that the tests notice |"
    yield "| --- | --- | --- | --- | --- |"
    for claim in found:
        tests = ", ".join(f"`{path}`" for path in claim.tests)
        without = ", ".join(f"`{name}`" for name in claim.without)
        yield f"| {claim.claim} | {claim.cases} | {tests} | {claim.tier} | {without} |"
