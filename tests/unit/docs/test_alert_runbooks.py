"""Every alert leads to an entry of the runbook."""

import importlib
import re
import subprocess
from typing import Any

import pytest

from local.node import ROOT
from tests.support.shell_blocks import blocks, commands

yaml: Any = importlib.import_module("yaml")
ALERTS = ROOT / "ops" / "alerts.yml"


def rules(text: str) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(text)["groups"]
    return list(group["rules"])


def anchor(heading: str) -> str:
    """Return the fragment of the link to a heading, as GitHub and GitLab make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("rule", rules(ALERTS.read_text("utf-8")), ids=lambda rule: rule["alert"])
def test_an_alert_names_its_entry(rule: dict[str, Any]) -> None:
    """Each alert's `runbook_url` is a heading of the runbook, whose entry has symptom, check and fix."""
    page, mark, fragment = rule["annotations"]["runbook_url"].partition("#")
    assert (page, mark) == ("docs/runbook.md", "#")
    text = (ROOT / page).read_text("utf-8")
    entries = {anchor(title): body for title, body in re.findall(r"^### (.+)\n((?:(?!^#).*\n)*)", text, re.MULTILINE)}
    assert fragment in entries
    assert "- **Fix**:" in entries[fragment]


def test_every_alert_that_an_entry_names_leads_back_to_it() -> None:
    """If a runbook entry names an alert, the alert's `runbook_url` leads to this entry."""
    text = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    wanted = {
        rule["alert"]: rule["annotations"]["runbook_url"].partition("#")[2] for rule in rules(ALERTS.read_text("utf-8"))
    }
    named = [
        (name, anchor(title))
        for title, body in re.findall(r"^### (.+)\n((?:(?!^#).*\n)*)", text, re.MULTILINE)
        for name in re.findall(r"`(Onceover\w+)`", body)
    ]
    assert len(named) >= 6
    assert [(name, title) for name, title in named if wanted[name] != title] == []


def test_the_command_of_the_page_makes_urls_of_them() -> None:
    """A command in docs/operations.md puts an address before each `runbook_url`, so that Prometheus gets URLs."""
    (command,) = [
        command
        for block in blocks(ROOT / "docs" / "operations.md")
        for command in commands(block)
        if command.startswith("sed ")
    ]
    written, _, file = command.rpartition(" > ")
    assert file.startswith(".build/")
    made = subprocess.run(["bash", "-c", written], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before = [rule["annotations"]["runbook_url"] for rule in rules(ALERTS.read_text("utf-8"))]
    after = [rule["annotations"]["runbook_url"] for rule in rules(made)]
    assert after == [f"https://git.example.com/onceover/blob/main/{path}" for path in before]
