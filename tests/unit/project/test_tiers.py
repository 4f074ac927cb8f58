"""The tiers of the test suite, the table of known mistakes, and the version and notes of a release.

If a change of the code fails the test of known mistakes, look for the place where the mistake could be made now, and
write it into `mutation/mistakes.toml`. If no such place is left, delete the mistake.
"""

import ast
import re

import pytest

from local.claims_page import claims
from local.node import ROOT
from mutation.mistakes import Mistake, read
from onceover_cli import __version__
from simulator.campaign.ablations import BY_NAME
from src.kernel.domain.version import VERSION
from tests import campaign, quick, release

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


MISTAKES = read()


@pytest.mark.parametrize("mistake", MISTAKES, ids=[one.name for one in MISTAKES])
def test_a_known_mistake_can_still_be_made(mistake: Mistake):
    text = mistake.mutant(ROOT).put_into((ROOT / mistake.path).read_text("utf-8"))
    assert mistake.new != mistake.old
    ast.parse(text)
    assert mistake.promise.endswith(".")


@pytest.mark.parametrize("mistake", MISTAKES, ids=[one.name for one in MISTAKES])
def test_a_known_mistake_names_its_tests(mistake: Mistake):
    assert mistake.tests
    for name in mistake.tests:
        path, _, function = name.partition("::")
        assert f"\ndef {function.partition('[')[0]}(" in (ROOT / path).read_text("utf-8"), name


def test_the_command_line_and_the_page_have_the_version_of_the_worker() -> None:
    assert __version__ == VERSION
    assert f'version = "{VERSION}"' in (ROOT / "cli" / "pyproject.toml").read_text("utf-8")
    assert f'const VERSION = "{VERSION}";' in (ROOT / "public" / "app" / "main.js").read_text("utf-8")


def test_notes_are_the_section_of_the_version() -> None:
    text = "# Changelog\n\n## Unreleased: 0.2.0\n\nNew.\n\n## 0.1.0 (2026-12-01)\n\n### Tasks\n\n- One.\n"
    assert release.notes_of("0.2.0", text) == "New.\n"
    assert release.notes_of("0.1.0", text) == "### Tasks\n\n- One.\n"
    with pytest.raises(release.NotReady, match=r"no section for 0\.3\.0"):
        release.notes_of("0.3.0", text)
