"""`make docs`: writes the generated parts of `docs/` anew; with `--check`, only says whether they are current.

The page of the HTTP API, the diagram of the state machine and the simulator's list of faults are made from the code.
The table of `docs/verification/claims.md` is made from a file of claims; `docs/verification.md` names the last report.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator.engine.fault_kinds import KINDS
from src.kernel.domain.task import TRANSITIONS, Status

from . import api_page, claims_page
from .node import ROOT

API = Path("docs/api.md")
STATE_MACHINE = Path("docs/design/state-machine.md")
VERIFICATION = Path("docs/verification.md")
CLAIMS = Path("docs/verification/claims.md")
SIMULATOR = Path("simulator/README.md")

_FAULTS = re.compile(r"^\| number \| name \| usual rate \| what happens \|\n(?:\|.*\n)*", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.DOTALL | re.MULTILINE)


class DiagramMissing(Exception):
    """Raised when a document has no place for its diagram, or several.

    The message of `DiagramMissing` is one line for the user.
    """


def diagram() -> str:
    """Draw the transitions as a Mermaid diagram."""
    lines = ["stateDiagram-v2", "    [*] --> pending: submit"]
    for transition in TRANSITIONS.values():
        lines += [f"    {source} --> {transition.target}: {transition.name}" for source in transition.sources]
    lines += [f"    {status} --> [*]: erase" for status in Status if status.terminal]
    return "\n".join(lines)


def with_diagram(text: str) -> str:
    """Return a document with the state machine's diagram in its one mermaid block. Raises `DiagramMissing`."""
    blocks = _MERMAID.findall(text)
    if len(blocks) != 1:
        raise DiagramMissing(f"{STATE_MACHINE} must have one mermaid block, and has {len(blocks)}")
    return text.replace(blocks[0], f"```mermaid\n{diagram()}\n```")


def with_faults(text: str) -> str:
    """Return the simulator's README with its table of faults as the simulator has it."""
    rows = [f"| {kind.number} | `{kind.name}` | {kind.rate:g} | {kind.meaning} |" for kind in KINDS.values()]
    table = "\n".join(["| number | name | usual rate | what happens |", "| --- | --- | --- | --- |", *rows, ""])
    return _FAULTS.sub(lambda _: table, text)


def generated(root: Path) -> dict[Path, str]:
    """Return the text that each generated document must have, by path. Raises `DiagramMissing`, `TableMissing`."""
    return {
        API: api_page.page(),
        STATE_MACHINE: with_diagram((root / STATE_MACHINE).read_text(encoding="utf-8")),
        SIMULATOR: with_faults((root / SIMULATOR).read_text(encoding="utf-8")),
        CLAIMS: claims_page.with_table((root / CLAIMS).read_text(encoding="utf-8"), root),
        VERIFICATION: claims_page.with_last_report((root / VERIFICATION).read_text(encoding="utf-8"), root),
    }


def outdated(root: Path) -> dict[Path, str]:
    """Return the outdated documents with their new text. Raises `DiagramMissing`, `TableMissing`."""
    return {path: text for path, text in generated(root).items() if _read(root / path) != text}


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the documents that are not current, or with `--check` only list them.

    The exit status is 1 if `--check` found a document that is not current.
    """
    parser = argparse.ArgumentParser(prog="python -m local.docs", description="Regenerate the generated documents.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is not current")
    options = parser.parse_args(arguments)
    try:
        documents = outdated(root)
    except (DiagramMissing, claims_page.TableMissing) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in documents.items():
        if options.check:
            print(f"error: {path} is not current; run `make docs`", file=sys.stderr)
        else:
            (root / path).write_text(text, encoding="utf-8")
            print(f"Wrote {path}")
    if not documents:
        print("The generated documents are current.")
    return 1 if options.check and documents else 0


if __name__ == "__main__":
    sys.exit(main())
