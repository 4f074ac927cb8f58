"""The design documents agree with the code."""

from pathlib import Path

from src.core.states import TRANSITIONS, diagram

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_diagram_is_the_table():
    """docs/design/state-machine.md has the diagram that is drawn from the table of transitions, and a row for each."""
    text = (DOCS / "design" / "state-machine.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text
    assert all(f"| {name} |" in text for name in TRANSITIONS)
