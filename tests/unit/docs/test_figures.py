"""A measured figure stands on one page, and what a program counts is what the documents say."""

import re
from pathlib import Path

import pytest

from local import claims_page
from local.node import ROOT

DOCS = ROOT / "docs"
HOMES = ("performance.md", "costs.md", "limits.md")
# Records of their own time, and pages whose figures other tests compare with those of the homes.
APART = ("decisions", "releases", "costs.md", "api.md")
LIMITS = (ROOT / "src/kernel/domain/limits.py").read_text("utf-8")
OF_THE_CODE = {f"{int(number.replace('_', '')):,}" for number in re.findall(r"\d[\d_]+", LIMITS)}
FIGURE = re.compile(r"(?<![\w.,/·-])(?:\d{1,3}(?:,\d{3})+|\d+\.\d+)(?![\w.,]*\d)")
NOT_MEASURED = re.compile(
    r"^```.*?^```|\]\([^)]*\)|(?:wrangler|workerd|Pyodide|Python|Node\.js) \d[\d.]*", re.DOTALL | re.MULTILINE
)
# What costs.md computes with.
COINCIDENCES = {"performance.md": {"2.71"}}
PAGES = [
    path.relative_to(DOCS)
    for path in sorted(DOCS.rglob("*.md"))
    if not path.name.endswith(".zh-CN.md") and not set(path.relative_to(DOCS).parts) & set(APART)
]


def figures(page: Path) -> set[str]:
    """Return the figures of a page with at least three digits that count, without limits of the code and versions."""
    found = FIGURE.findall(NOT_MEASURED.sub("", (DOCS / page).read_text("utf-8")))
    return {one for one in found if len(one.replace(",", "").replace(".", "").strip("0")) >= 3} - OF_THE_CODE


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_measured_figure_stands_on_one_page(page: Path) -> None:
    """No page repeats a figure of the pages on performance, costs and limits; it links there."""
    for home in HOMES:
        if page.name != home:
            repeated = figures(page) & figures(Path(home)) - COINCIDENCES.get(page.name, set())
            assert not repeated, f"{page} repeats figures of {home}: link there"


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_a_readme_has_the_figures_of_their_pages(readme: str) -> None:
    assert figures(ROOT / readme) <= set().union(*(figures(DOCS / home) for home in HOMES))


def test_each_count_of_the_claims_comes_from_a_program() -> None:
    text = (ROOT / claims_page.CLAIMS).read_text("utf-8")
    assert set(re.findall(r"\{(\w+)\}", text)) == set(claims_page.counts())
    table = (
        (DOCS / "verification" / "claims.md")
        .read_text("utf-8")
        .partition(claims_page.BEGIN)[2]
        .partition(claims_page.END)[0]
    )
    assert not re.search(r"\{\w+\}", table)
    assert f"refuses in {claims_page.counts()['refusals']} ways" in " ".join(
        (DOCS / "guide.md").read_text("utf-8").split()
    )
