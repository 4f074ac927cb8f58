"""A release has one version everywhere, and notes from the changelog."""

import pytest

from onceover_cli import __version__
from src.kernel.domain.version import VERSION
from tests import release
from tests.unit.project.test_house import ROOT


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
