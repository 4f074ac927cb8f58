"""The tiers of the suite: which tests each runs, how the campaign continues, and that the documents agree."""

import re
from pathlib import Path

import pytest

from local.node import ROOT
from tests import campaign, quick

QUICK = ("tests/unit/", "tests/property/", "tests/api/")
TABLE = "## What holds which promise"
MARKED = re.compile(r"pytest\.mark\.campaign\b")


def promises() -> list[tuple[str, list[str], str]]:
    """The rows of the table: what is tried, the files that try it, and the tier. "The same" is the row above."""
    text = (ROOT / "docs" / "verification.md").read_text("utf-8")
    table = text.partition(TABLE)[2].partition("\n\nThe simulation")[0]
    found: list[tuple[str, list[str], str]] = []
    for line in table.splitlines():
        if not line.startswith("| ") or line.startswith(("| what ", "| ---")):
            continue
        *_, where, tier = (cell.strip() for cell in line.strip("| ").split(" | "))
        paths = found[-1][1] if where.startswith("the same") else re.findall(r"`([\w/.]+)`", where)
        found.append((line, paths, tier))
    return found


def test_each_promise_names_its_tier() -> None:
    """What needs neither a runtime nor the simulator is quick. A campaign's promise is in a file with such a test."""
    assert len(promises()) > 50
    for line, paths, tier in promises():
        assert paths, line
        assert [path for path in paths if not (ROOT / path).exists()] == [], line
        if tier == "campaign":
            assert any(MARKED.search((ROOT / path).read_text("utf-8")) for path in paths), line
        else:
            assert tier == ("quick" if all(path.startswith(QUICK) for path in paths) else "test"), line


def test_the_quick_folders_start_no_runtime() -> None:
    """No module there has the mark of a test that starts workerd."""
    modules = [path for folder in quick.FOLDERS for path in (ROOT / folder).rglob("test_*.py")]
    assert [path for path in modules if re.search(r"mark\.runtime\b", path.read_text("utf-8"))] == []


@pytest.mark.parametrize("area", quick.areas())
def test_an_area_has_tests(area: str) -> None:
    """ONLY=area selects the area's own tests, and fewer than all."""
    found = list(quick.modules_of(area))
    assert found
    assert len(found) < sum(1 for folder in quick.FOLDERS for _ in (ROOT / folder).rglob("test_*.py"))


def test_an_area_s_tests_are_in_its_room_or_import_it() -> None:
    """A module of the queue's folder is selected, and so is one elsewhere that imports the store."""
    assert all("queue" in path.parts or "queue" in path.read_text("utf-8") for path in quick.modules_of("queue"))
    assert Path("tests/property/test_store_model.py") in set(quick.modules_of("store"))


def part(code: str, name: str = "one") -> campaign.Part:
    return campaign.Part("group", name, f"-c {code!r}")


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate folder for the records of parts."""
    monkeypatch.setattr(campaign, "RECORDS", tmp_path)
    return tmp_path


def test_a_part_that_has_passed_is_passed_over(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part that has passed runs again only if the files changed, or on request."""
    counted = part(f"open({str(records / 'count')!r}, 'a').write('x')")
    failing = part("raise SystemExit(3)", "two")
    for judged, again in (("a", False), ("a", False), ("b", False), ("b", True)):
        campaign.go([counted, failing], judged, again=again)
    assert (records / "count").read_text() == "xxx"
    assert capsys.readouterr().out.count("2 of 2: two …") == 4
    found = campaign.known(failing)
    assert found is not None
    assert (found.status, found.digest) == (3, "b")
    assert campaign.show([counted, failing], "b") == 1
    assert campaign.show([counted, failing], "c") == 0  # other files have no record


def test_a_record_that_was_cut_off_is_none(records: Path) -> None:
    """A process that died while it wrote leaves no valid record."""
    (records / "one.json").write_text('{"part": "one", "sta')
    assert campaign.known(part("pass")) is None


def test_parts_are_chosen_by_name_and_group() -> None:
    """Patterns match both. One that matches nothing is an error."""
    assert [found.name for found in campaign.chosen(["mutants", "sdk-*"])] == ["sdk-matrix", "sdk-chaos", "mutants"]
    assert {found.group for found in campaign.chosen(["schedules"])} == {"schedules"}
    with pytest.raises(ValueError, match="no part is called nothing"):
        campaign.chosen(["nothing"])


def test_the_campaign_s_schedules_are_all_of_them_once() -> None:
    """The parts are 100,000 seeds without a gap."""
    firsts = [int(found.command.split()[3]) for found in campaign.chosen(["schedules"])]
    assert firsts == list(range(0, campaign.SCHEDULES, campaign.BLOCK))
    assert campaign.SCHEDULES == 100_000


def test_documents_do_not_change_what_is_judged() -> None:
    """The digest leaves out files that no part reads."""
    assert campaign.digest() == campaign.digest()
    assert not any(name.startswith("docs/") for name in campaign.judged_files())
    assert {"src/entry.py", "tests/campaign.py", "wrangler.toml"} <= set(campaign.judged_files())
