"""The design documents agree with the code."""

from pathlib import Path

from src.core.states import TRANSITIONS, diagram
from tests.unit.project.test_tidy import LONGER_MODULES

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_diagram_is_the_table():
    """docs/design/state-machine.md has the diagram that is drawn from the table of transitions, and a row for each."""
    text = (DOCS / "design" / "state-machine.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text
    assert all(f"| {name} |" in text for name in TRANSITIONS)


def test_no_source_file_holds_more_than_one_thing():
    """No module of `src` or `local` has more than 300 lines, so that each contains one thing.

    Exceptions give a reason.
    """
    root = DOCS.parent
    files = [*root.glob("src/**/*.py"), *root.glob("local/*"), *root.glob("local/[a-z]*/*")]
    sizes = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in files if path.is_file()}
    assert not {name: size for name, size in sizes.items() if size > LONGER_MODULES.get(name, (300, ""))[0]}
