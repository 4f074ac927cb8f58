"""Every link from a document, and every document that any file names, leads somewhere, anchors included."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from local.node import ROOT

_LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\n")
FILES = sorted(name for name in _LISTED if name and (ROOT / name).is_file())
DOCUMENTS = [name for name in FILES if name.endswith(".md")]
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@cache
def anchors(path: Path) -> set[str]:
    text = _CODE.sub("", path.read_text("utf-8"))
    found = set(re.findall(r'<a id="([^"]+)"></a>', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\]\([^)]*\)", "", heading.replace("[", ""))
        found.add(re.sub(r"[^\w -]", "", words.lower()).replace(" ", "-"))
    return found


def leads_nowhere(place: Path, fragment: str) -> bool:
    return not place.exists() or bool(fragment and place.suffix == ".md" and fragment not in anchors(place))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    text = _CODE.sub("", (ROOT / name).read_text("utf-8"))
    for target, fragment in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        place = (ROOT / name).parent / target if target else ROOT / name
        assert not leads_nowhere(place, fragment), f"{target}#{fragment}"


def test_every_document_that_a_file_names_is_there() -> None:
    """Those that code, a message or a comment names; landed migrations name numbers alone."""
    for name in FILES:
        if name.endswith(".md") or name.startswith("docs/"):
            continue
        text = (ROOT / name).read_bytes().decode("utf-8", "ignore")
        for target, fragment in re.findall(r"\b(docs/[\w/.-]+\.md)(?:#([\w-]+))?", text):
            assert not leads_nowhere(ROOT / target, fragment), f"{name}: {target}#{fragment}"


def test_every_decision_has_its_number() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [
        number
        for page in pages
        for number in re.findall(r'^<a id="d(\d{4})"></a>\n\n## \1: \S', page.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(numbers) == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert len(numbers) == sum(len(re.findall("^## ", page.read_text("utf-8"), re.MULTILINE)) for page in pages)
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert {number for number in numbers if f"#d{number})" not in index} == set()
