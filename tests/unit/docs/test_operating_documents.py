"""Runbook and guide: each name in them exists, they have each fix of the code, and alerts lead to entries."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from local.node import ROOT
from local.remote.fixes import FIXES, RUN_AGAIN

DOCS = ROOT / "docs"


def read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def entries() -> dict[str, str]:
    symptoms = read("runbook.md").partition("\n## Errors by their text\n")[0]
    parts = re.split(r"^### (.+)$", symptoms, flags=re.MULTILINE)[1:]
    return {title: text.partition("\n## ")[0] for title, text in zip(parts[::2], parts[1::2], strict=True)}


@cache
def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_runbook_has_fifteen_entries_at_least() -> None:
    assert len(entries()) >= 15
    for title, text in entries().items():
        assert re.findall(r"^- \*\*([A-Z][a-z ]+)\*\*: \S", text, re.MULTILINE) == [
            "Symptom",
            "Check",
            "Fix",
            "Provoked by",
        ], title


@pytest.mark.parametrize("title", entries())
def test_the_test_that_provokes_an_entry_exists(title: str) -> None:
    named = re.findall(r"^- \*\*Provoked by\*\*: `(tests/[\w/]+\.py)::(test_\w+)`$", entries()[title], re.MULTILINE)
    ((path, name),) = named
    assert name in named_in(ROOT / path)
    assert sum(f"`{path}::{name}`" in text for text in entries().values()) == 1


def test_troubleshooting_has_every_fix() -> None:
    rows = dict(re.findall(r"^\| ([a-z][a-z-]*) \| [^|]+ \| ([^|]+) \|$", read("runbook.md"), re.MULTILINE))
    assert rows == {fix.id: fix.text.removesuffix(f" {RUN_AGAIN}") for fix in FIXES.values()}
    assert re.findall(r"^\| ([a-z][a-z-]*) \| [^|]+ \| [^|]+ \|$", read("runbook.zh-CN.md"), re.MULTILINE) == list(
        FIXES
    )


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
