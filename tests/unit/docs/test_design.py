"""The documents of the design say what the code does."""

from pathlib import Path

from src.core.states import TRANSITIONS, diagram
from tests.unit.project.test_tidy import LONGER_MODULES

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_diagram_is_the_table():
    """docs/design/state-machine.md holds the diagram that the table draws, and a row for each transition."""
    text = (DOCS / "design" / "state-machine.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text
    assert all(f"| {name} |" in text for name in TRANSITIONS)


def test_no_source_file_holds_more_than_one_thing():
    """Modules of src and local stay within 300 lines, but for those that say why, so that each holds one thing."""
    root = DOCS.parent
    files = [*root.glob("src/**/*.py"), *root.glob("local/*")]
    sizes = {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in files if path.is_file()}
    assert not {name: size for name, size in sizes.items() if size > LONGER_MODULES.get(name, (300, ""))[0]}
