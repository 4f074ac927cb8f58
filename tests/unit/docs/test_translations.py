"""The Chinese documents match the English ones: the same sections, commands, code and figures."""

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
            *("guide", "deploy", "runbook", "troubleshooting", "costs"),
            *("configuration", "clients", "upgrade", "webhooks", "structured-output"),
        )
    ),
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FIGURE = re.compile(r"\d[\d,.]*\d|\d")
_ENGLISH_SENTENCE = re.compile(r"(?:\b[A-Za-z']+\b[ ,;]+){7,}")


def prose(path: Path) -> str:
    """Return the text without its code blocks and links' targets, which differ between languages."""
    return re.sub(r"\]\([^)]*\)", "]", _BLOCK.sub("", path.read_text("utf-8")))


def cells(path: Path) -> list[int]:
    """Count the cells in each row of a table."""
    return [line.replace("\\|", "").count("|") for line in prose(path).splitlines() if line.startswith("|")]


pairs = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.name)


@pairs
def test_the_sections_are_the_same(english: Path, chinese: Path) -> None:
    """A translation has the same headings in number, level and order, and as many items, checks and rows of tables."""
    for pattern in (r"^(#+) ", r"^(\d+\.|-(?: \[ \])?) "):
        assert re.findall(pattern, prose(chinese), re.MULTILINE) == re.findall(pattern, prose(english), re.MULTILINE)
    assert cells(chinese) == cells(english)


@pairs
def test_the_blocks_are_the_same(english: Path, chinese: Path) -> None:
    """Commands and outputs are exactly those of the original."""
    assert _BLOCK.findall(chinese.read_text("utf-8")) == _BLOCK.findall(english.read_text("utf-8"))


@pairs
def test_names_and_figures_are_the_same(english: Path, chinese: Path) -> None:
    """Texts in code marks, and figures, occur as often in both languages."""
    codes = [Counter(re.findall(r"`[^`\n]+`", prose(path))) for path in (english, chinese)]
    assert codes[1] == codes[0]
    # A month is a word in English and a figure in Chinese.
    figures = [Counter(_FIGURE.findall(re.sub(r"`[^`]+`|\d+ 月", "", prose(path)))) for path in (english, chinese)]
    assert figures[1] == figures[0]


@pairs
def test_it_is_chinese(english: Path, chinese: Path) -> None:
    """Only quoted sentences are in English, punctuation is Chinese, and there is a link to the other language."""
    text = re.sub(r'`[^`]+`|"[^"\n]+"', "", prose(chinese))
    assert not _ENGLISH_SENTENCE.search(text)
    assert not re.search(r"[\u4e00-\u9fff] ?[,;:?!](?=\s|[\u4e00-\u9fff]|$)", text, re.MULTILINE)
    assert f"({chinese.name})" in english.read_text("utf-8")
    assert f"({english.name})" in chinese.read_text("utf-8")


WORDS = sorted((ROOT / "public" / "words" / "zh").glob("*.js"))
CHINESE = [*(chinese for _, chinese in PAIRS), *WORDS]


def terms() -> dict[str, list[str]]:
    """Return the Chinese terms of docs/glossary.md, and the words that must not replace them."""
    table = (ROOT / "docs" / "glossary.md").read_text("utf-8").partition("\n## In Chinese\n")[2]
    rows = re.findall(r"^\| [A-Z][^|]* \| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)[1:]
    return {word: never.split("、") for word, never in rows}


def test_one_word_for_each_thing() -> None:
    """Each term is in use, and no document and no text of the dashboard uses another word for it."""
    texts = {path.name: path.read_text("utf-8") for path in CHINESE}
    assert len(terms()) >= 20
    for word, never in terms().items():
        assert any(one in text for one in word.split("、") for text in texts.values()), word
        assert {(name, other) for other in never for name, text in texts.items() if other in text} == set()


@pytest.mark.parametrize("chinese", [chinese for _, chinese in PAIRS], ids=lambda path: path.name)
def test_a_link_leads_to_chinese_or_says_that_it_does_not(chinese: Path) -> None:
    """A page that exists in Chinese is linked in Chinese, except for the original.

    A linked page that exists only in English is marked so.
    """
    text = _BLOCK.sub("", chinese.read_text("utf-8")).replace(f"English: [{english_of(chinese).name}]", "")
    for paragraph in re.split(r"\n\n|\n(?=[-|\d])", text):
        for link in re.finditer(r"\]\((?!https?:)([^)#]+)[^)]*\)", paragraph):
            path = chinese.parent / link[1]
            if path.name.endswith(".zh-CN.md") or not (path.suffix == ".md" or path.is_dir()):
                continue
            assert not path.with_name(f"{path.stem}.zh-CN.md").exists() or path == english_of(chinese), link[1]
            behind = paragraph[link.end() : link.end() + 40]
            if path != english_of(chinese):
                assert "英文" in behind or re.search("[均下]为英文", paragraph), link[1]


def english_of(chinese: Path) -> Path:
    """Return the original of a Chinese document."""
    return chinese.with_name(chinese.name.replace(".zh-CN", ""))


def test_every_chinese_document_has_its_original() -> None:
    """A new Chinese document must be added to the list above."""
    found = {*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/**/*.zh-CN.md")}
    assert found == {chinese for _, chinese in PAIRS}
