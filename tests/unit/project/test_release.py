"""The report of a release says what ran on its files, what broke, and what did not run."""

import json
from pathlib import Path

import pytest

from onceover_cli import __version__
from src.kernel.domain.version import VERSION
from tests import campaign, release
from tests.unit.project.test_house import ROOT


def record(
    figures: dict[str, object], status: int = 0, digest: str = "these files", command: str = "-m a.part"
) -> campaign.Record:
    return campaign.Record("a part", command, status, 0.0, 72.0, digest, figures)


def test_the_command_line_and_the_page_have_the_version_of_the_worker() -> None:
    assert __version__ == VERSION
    assert f'version = "{VERSION}"' in (ROOT / "cli" / "pyproject.toml").read_text("utf-8")
    assert f'const VERSION = "{VERSION}";' in (ROOT / "public" / "app" / "main.js").read_text("utf-8")


def test_a_report_adds_up_what_ran_on_these_files() -> None:
    first = {"schedules": 5_000, "tasksAccepted": 30, "modelCalls": 90, "broken": 0, "faultsFired": {"model_slow": 3}}
    forms = {"schedules": 50, "tasksAccepted": 10, "modelCalls": 20, "broken": 1, "faultsFired": {"model_slow": 4}}
    records: dict[str, campaign.Record | None] = {one.name: None for one in campaign.parts()} | {
        "schedules-0": record(first, command="-m simulator --first 0 --seeds 5000"),
        "schedules-5000": record(first, command="-m simulator --first 5000 --seeds 5000"),
        "forms-schedules": record(forms, command="-m simulator --forms --seeds 50"),
        "late-schedules": record({"schedules": 1_000}, digest="other files"),
        "states-plain-cancel": record({"plain, queue": {"states": 7, "transitions": 9, "outcome": "0 violations"}}),
        "chaos": record({"kills": 20, "violations": 1}, status=1),
        "long-tests": record({"passed": 300, "failed": 0, "ablations": 155, "noticed": 155}),
        "mistakes": record({"mistakes": 63, "noticed": 62, "tiers": {"quick": 60, "test": 2}}),
        "mutants": record({"killed": 280, "timedOut": 4, "survived": 16}),
        "suites": record({"Standard Webhooks": {"messages": 1_000, "wrong": 0}, "MCP's": {"skipped": "no npm"}}),
    }
    left = len(records) - 9
    report = release.report_of(records, "these files")
    page = release.page_of(report)
    assert "late-schedules" in report["notRun"]
    assert report["faultsFired"]["model_slow"] == 10
    for line in (
        f"| parts of the campaign | {left + 9} | 8 passed in 0.2 hours, {left} did not run, 1 failed, chaos |",
        "| schedules, each with faults that a seed draws | 10,050, 200 model calls | 1 broke an invariant |",
        "| every state of small tasks | 7 states, 9 transitions | no violation |",
        "| SIGKILLs of the real runtime | 20 | 1 tasks or lines lost, doubled or miscounted |",
        "| ablations: schedules without a safeguard | 155 | 155 noticed |",
        "| ablations: every state without a safeguard | not run |  |",
        "| known mistakes of tired developers | 63 | 62 noticed: 60 by `make quick`, 2 by `make test` |",
        "| mutants, drawn by seed 1 | 300 | 284 killed, 16 survived |",
        "| Standard Webhooks | 1,000 messages | 0 wrong |",
        "| MCP's | skipped | no npm |",
        "| ordinary | 0 to 9,999 | 60 | 180 | 0 |",
        "| `--forms` | 0 to 49 | 10 | 20 | 1 |",
        "| 15 | model_hang 0, model_slow 10, ",
        "- The hosted platform itself.",
        "files: tests (long-draws), clock (all 1), chaos (5 of 6), ",
    ):
        assert line in page


def test_a_report_without_schedules_has_no_table_of_faults() -> None:
    page = release.page_of(release.report_of({one.name: None for one in campaign.parts()}, ""))
    assert "| schedules, each with faults that a seed draws | not run |  |" in page
    assert "model_slow" not in page


def test_a_report_has_what_no_report_before_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "REPORTS", tmp_path)
    first, *others = release.report_of({}, "")["mended"]
    assert others
    (tmp_path / "0.0.9.json").write_text(json.dumps({"mended": others}))
    assert release.report_of({}, "")["mended"] == [first]


def test_notes_are_the_section_of_the_version() -> None:
    text = "# Changelog\n\n## Unreleased: 0.2.0\n\nNew.\n\n## 0.1.0 (2026-12-01)\n\n### Tasks\n\n- One.\n"
    assert release.notes_of("0.2.0", text) == "New.\n"
    assert release.notes_of("0.1.0", text) == "### Tasks\n\n- One.\n"
    with pytest.raises(release.NotReady, match=r"no section for 0\.3\.0"):
        release.notes_of("0.3.0", text)
