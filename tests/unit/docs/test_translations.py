"""The Chinese documents have the same sections, commands, code and figures as the English ones."""

import re
from collections import Counter
from pathlib import Path

import pytest

from local.node import ROOT

PAIRS = [
    (ROOT / "README.md", ROOT / "README.zh-CN.md"),
    *(
        (ROOT / "docs" / f"{name}.md", ROOT / "docs" / f"{name}.zh-CN.md")
        for name in (
            *("guide", "runbook", "operations", "costs", "configuration", "clients", "cli", "limits"),
            *("structured-output", "batches", "long-texts"),
        )
    ),
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(r"\d[\d,.]*\d|\d")


def prose(path: Path) -> str:
    return re.sub(r"\]\([^)]*\)", "]", _BLOCK.sub("", path.read_text("utf-8")))


def cells(path: Path) -> list[int]:
    return [line.replace("\\|", "").count("|") for line in prose(path).splitlines() if line.startswith("|")]


pairs = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.name)


@pairs
def test_the_sections_are_the_same(english: Path, chinese: Path) -> None:
    """A translation has the same headings in level and order, and as many list items and table rows as the original."""
    for pattern in (r"^(#+) ", r"^(\d+\.|-(?: \[ \])?) "):
        assert re.findall(pattern, prose(chinese), re.MULTILINE) == re.findall(pattern, prose(english), re.MULTILINE)
    assert cells(chinese) == cells(english)


@pairs
def test_the_blocks_are_the_same(english: Path, chinese: Path) -> None:
    assert _BLOCK.findall(chinese.read_text("utf-8")) == _BLOCK.findall(english.read_text("utf-8"))


@pairs
def test_names_and_figures_are_the_same(english: Path, chinese: Path) -> None:
    codes = [Counter(re.findall(r"`[^`\n]+`", prose(path))) for path in (english, chinese)]
    assert codes[1] == codes[0]
    # In dates the month is a word in English and a figure in Chinese.
    figures = [Counter(_FIGURE.findall(re.sub(r"`[^`]+`|\d+ 月", "", prose(path)))) for path in (english, chinese)]
    assert figures[1] == figures[0]


WORDS = sorted((ROOT / "public" / "words").glob("*.js"))
CHINESE = [*(chinese for _, chinese in PAIRS), *WORDS]


def terms() -> dict[str, list[str]]:
    table = (ROOT / "docs" / "glossary.md").read_text("utf-8").partition("\n## In Chinese\n")[2]
    rows = re.findall(r"^\| [A-Z][^|]* \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)[1:]
    return {word: never.split("、") for word, never in rows}


def test_one_word_for_each_thing() -> None:
    texts = {path.name: path.read_text("utf-8") for path in CHINESE}
    assert len(terms()) >= 20
    for word, never in terms().items():
        assert any(one in text for one in word.split("、") for text in texts.values()), word
        assert {(name, other) for other in never for name, text in texts.items() if other in text} == set()


def test_every_chinese_document_has_its_original() -> None:
    found = {*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/**/*.zh-CN.md")}
    assert found == {chinese for _, chinese in PAIRS}
