"""A measured figure stands on one page, and what a program counts is what the documents say."""

import json
import re
from pathlib import Path

import pytest

from local import claims_page
from local.node import ROOT

DOCS = ROOT / "docs"
HOMES = ("performance.md", "costs.md", "limits.md")
# Records of their own time, and pages whose figures other tests compare with those of the homes.
_APART = ("decisions", "costs.md", "api.md")
_LIMITS = {
    f"{int(number.replace('_', '')):,}"
    for number in re.findall(r"\d[\d_]+", (ROOT / "src/kernel/domain/limits.py").read_text())
}
_FIGURE = re.compile(r"(?<![\w.,/·-])(?:\d{1,3}(?:,\d{3})+|\d+\.\d+)(?![\w.,]*\d)")
_NOT_MEASURED = re.compile(
    r"^```.*?^```|\]\([^)]*\)|(?:wrangler|workerd|Pyodide|Python|Node\.js) \d[\d.]*", re.DOTALL | re.MULTILINE
)
# Other measurements that happen to have the same digits (ratios of loads and of brown-outs), and what costs.md computes
# with.
COINCIDENCES = {"verification.md": {"1.04", "1.17", "1.18"}, "performance.md": {"2.71"}}


def figures(text: str) -> set[str]:
    found = _FIGURE.findall(_NOT_MEASURED.sub("", text))
    return {figure for figure in found if len(figure.replace(",", "").replace(".", "").strip("0")) >= 3} - _LIMITS


def repeated(page: str, home: str) -> set[str]:
    return figures(page) & figures(home)


PAGES = [
    path.relative_to(DOCS)
    for path in sorted(DOCS.rglob("*.md"))
    if not path.name.endswith(".zh-CN.md") and not set(path.relative_to(DOCS).parts) & set(_APART)
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_measured_figure_stands_on_one_page(page: Path) -> None:
    """No page repeats a figure of the pages on performance, costs and limits; it links there."""
    text = (DOCS / page).read_text("utf-8")
    for home in HOMES:
        if page.name != home:
            assert repeated(text, (DOCS / home).read_text("utf-8")) <= COINCIDENCES.get(page.name, set()), home


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
