"""A measured figure stands on one page, and what a program counts is what the documents say."""

import json
import re

from local import claims_page
from local.node import ROOT

DOCS = ROOT / "docs"


def test_the_age_of_a_campaign_is_told_by_the_newest_migration() -> None:
    newest = json.loads((ROOT / claims_page.CLAIMS).read_text("utf-8"))["newest_migration"]
    assert newest["name"] == max(path.name for path in (ROOT / "migrations").glob("*.sql"))
    rows = "\n".join((DOCS / "verification.md").read_text("utf-8").splitlines())
    for claim in claims_page.claims(ROOT):
        if claim.latest:
            assert f"{claim.latest} ({claim.date}{', *old*' if claim.date < newest['date'] else ''})" in rows


def test_each_count_of_the_claims_comes_from_a_program() -> None:
    text = (ROOT / claims_page.CLAIMS).read_text("utf-8")
    assert set(re.findall(r"\{(\w+)\}", text)) == set(claims_page.counts())
    table = (DOCS / "verification.md").read_text("utf-8").partition(claims_page.BEGIN)[2].partition(claims_page.END)[0]
    assert not re.search(r"\{\w+\}", table)
    assert f"refuses in {claims_page.counts()['refusals']} ways" in " ".join(
        (DOCS / "guide.md").read_text("utf-8").split()
    )
