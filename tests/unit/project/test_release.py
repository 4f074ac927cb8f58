"""The report of a release says what ran on its files, what broke, and what did not run."""

import pytest

from onceover_cli import __version__
from src.kernel.domain.version import VERSION
from tests import campaign, release
from tests.unit.project.test_house import ROOT


def record(figures: dict[str, object], status: int = 0, digest: str = "these files") -> campaign.Record:
    return campaign.Record("a part", "-m a.part", status, 0.0, 60.0, digest, figures)


def test_the_command_line_and_the_page_have_the_version_of_the_worker() -> None:
    assert __version__ == VERSION
    assert f'version = "{VERSION}"' in (ROOT / "cli" / "pyproject.toml").read_text("utf-8")
    assert f'const VERSION = "{VERSION}";' in (ROOT / "public" / "app" / "main.js").read_text("utf-8")


def test_a_report_adds_up_what_ran_on_these_files() -> None:
    records = {
        "schedules-0": record({"schedules": 10, "tasksAccepted": 30, "broken": 0, "faultsFired": {"model_slow": 3}}),
        "forms": record({"schedules": 5, "tasksAccepted": 10, "broken": 1, "faultsFired": {"model_slow": 4}}),
        "old": record({"schedules": 1_000}, digest="other files"),
        "never": None,
        "states-plain": record({"plain, queue": {"states": 7, "transitions": 9, "outcome": "0 violations"}}),
        "chaos": record({"kills": 20}, status=1),
        "mistakes": record({"mistakes": 63, "noticed": 62}),
    }
    report = release.report_of(records, "these files")
    page = release.page_of(report)
    assert report["notRun"] == ["old", "never"]
    assert report["faultsFired"]["model_slow"] == 7
    for line in (
        "- **4 of 7 parts** of the campaign passed\n  (1 failed: chaos; 2 did not run).",
        "- **15 schedules** with 40 tasks and\n  0 model calls: 1 broke an invariant.",
        "- **7 states** of small tasks, 9 transitions.",
        "- **20 SIGKILLs** of the real runtime.",
        "- mistakes: mistakes 63; noticed 62",
        "| 15 | model_hang, model_slow, model_rate_limited, model_unavailable, model_reply_lost, model_malformed,",
        "did not run on the files of this release:\nold, never.",
    ):
        assert line in page


def test_notes_are_the_section_of_the_version() -> None:
    text = "# Changelog\n\n## Unreleased: 0.2.0\n\nNew.\n\n## 0.1.0 (2026-12-01)\n\n### Tasks\n\n- One.\n"
    assert release.notes_of("0.2.0", text) == "New.\n"
    assert release.notes_of("0.1.0", text) == "### Tasks\n\n- One.\n"
    with pytest.raises(release.NotReady, match=r"no section for 0\.3\.0"):
        release.notes_of("0.3.0", text)
