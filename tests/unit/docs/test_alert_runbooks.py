"""Every alert leads to an entry of the runbook."""

import importlib
import re
from typing import Any

import pytest

from local.node import ROOT

yaml: Any = importlib.import_module("yaml")
ALERTS = ROOT / "ops" / "alerts.yml"


def rules(text: str) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(text)["groups"]
    return list(group["rules"])


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("rule", rules(ALERTS.read_text("utf-8")), ids=lambda rule: rule["alert"])
def test_an_alert_names_its_entry(rule: dict[str, Any]) -> None:
    page, mark, fragment = rule["annotations"]["runbook_url"].partition("#")
    assert (page, mark) == ("docs/runbook.md", "#")
    text = (ROOT / page).read_text("utf-8")
    entries = {anchor(title): body for title, body in re.findall(r"^### (.+)\n((?:(?!^#).*\n)*)", text, re.MULTILINE)}
    assert fragment in entries
    assert "- **Fix**:" in entries[fragment]
