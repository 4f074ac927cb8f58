"""The design documents agree with the code."""

import re
from pathlib import Path

from local.docs import diagram
from src.kernel.domain.task import TRANSITIONS

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"


def test_the_diagram_is_the_table():
    text = (DOCS / "design" / "state-machine.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text
    assert all(f"| {name} |" in text for name in TRANSITIONS)


def test_the_page_about_erasure_names_every_table():
    text = (DOCS / "data.md").read_text()
    schema = "".join(path.read_text("utf-8") for path in sorted((ROOT / "migrations").glob("*.sql")))
    tables = re.findall(r"^CREATE TABLE (\w+)", schema, re.MULTILINE)
    assert len(tables) > 20
    assert not [table for table in tables if f"`{table}`" not in text]
