"""The tiers of the test suite: which tests each tier runs, how a campaign continues, and what the documents say."""

import re

from local.claims_page import claims
from local.node import ROOT
from simulator.campaign.ablations import BY_NAME
from tests import campaign, quick

QUICK = ("tests/unit/", "tests/property/", "tests/api/")
MARKED = re.compile(r"pytest\.mark\.campaign\b")
SIZED = re.compile(r"\bsized\(\s*quick=.+?,\s*test=(.+?),\s*campaign=(.+?)\)", re.DOTALL)


def test_each_claim_names_its_tier() -> None:
    """A claim that needs neither the runtime nor the simulator is tested in the quick tier."""
    found = claims(ROOT)
    assert len(found) > 50
    for claim in found:
        assert claim.tests, claim
        assert [path for path in claim.tests if not (ROOT / path).exists()] == [], claim
        if claim.tier == "campaign":
            assert any(MARKED.search((ROOT / path).read_text("utf-8")) for path in claim.tests), claim
        else:
            assert claim.tier == ("quick" if all(path.startswith(QUICK) for path in claim.tests) else "test"), claim


def test_each_ablation_stands_beside_a_claim() -> None:
    assert {name for claim in claims(ROOT) for name in claim.without} == set(BY_NAME)


def test_the_quick_folders_start_no_runtime() -> None:
    modules = [path for folder in quick.FOLDERS for path in (ROOT / folder).rglob("test_*.py")]
    assert [path for path in modules if re.search(r"mark\.runtime\b", path.read_text("utf-8"))] == []


def test_the_campaign_runs_each_module_that_has_more_to_do_in_it() -> None:
    larger = set[str]()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if any(test.strip("()") != more.strip("()") for test, more in SIZED.findall(path.read_text("utf-8"))):
            larger.add(path.relative_to(ROOT).as_posix())
    assert len(larger) > 20
    assert [name for name in larger if not any(long.partition("::")[0] in name for long in campaign.LONG_DRAWS)] == []
