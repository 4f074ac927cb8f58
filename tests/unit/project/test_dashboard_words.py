"""The dashboard's texts have the same names in both languages, with none missing and none unused."""

import functools
import os
import re
from pathlib import Path

import pytest

from src.kernel.domain.codes import TaskCode

PUBLIC = Path(__file__).resolve().parents[3] / "public"
APP, WORDS = PUBLIC / "app", PUBLIC / "words"
PAGE = ("early.js", "main.js")
PARTS = ("list", "views", "batch")
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_ENTRY = re.compile(rf'^ {{2}}(?:"([\w.-]+)"|(\w+)): \[{_TEXT}(?:, {_TEXT})?\],$', re.MULTILINE)
_NAMED = re.compile(r'"([\w.-]+)"')
_FAMILY = re.compile(r"\b(?:t|count)\(\s*`([\w.-]*)\$\{[^}]*\}(\w*)`")
_EXPLAINED = re.compile(r"const name = `([\w.]+)\$")
_VIEW = re.compile(r'^ {2}\w+: \["(\w+)", "\w+", "([^\]]+)"\],$', re.MULTILINE)
_IMPORT = re.compile(r'^(?:import|export) (?:[^;]*? from )?"(\.{1,2}/(?!\.\./)[\w/-]+\.js)";$', re.MULTILINE)


def words(language: str, part: str) -> dict[str, str]:
    text = (WORDS / f"{part}.js").read_text()
    found = _ENTRY.findall(text)
    assert len(found) == len(re.findall(r"^ {2}\S.*:", text, re.MULTILINE)), "a line is not understood"
    place = ("en", "zh").index(language)
    return {quoted or plain: texts[place] for quoted, plain, *texts in found if texts[place]}


def reached(*names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = (APP / name).read_text()
            left += [os.path.normpath(f"{name}/../{one}") for one in _IMPORT.findall(found[name])]
    return found


def views(part: str) -> list[list[str]]:
    found = _VIEW.findall((APP / "base" / "views.js").read_text())
    return [[f"views/{file}.js" for file in files.split('", "')] for own, files in found if own == part]


def sources(*parts: str) -> str:
    return "\n".join(reached(*PAGE, *(files[0] for part in parts for files in views(part))).values())


@pytest.mark.parametrize("part", PARTS)
def test_both_languages_have_the_same_names_and_values(part: str) -> None:
    english, chinese = words("en", part), words("zh", part)
    assert [name for name in english if not name.endswith("One")] == list(chinese)  # one thing has no form of its own
    values = re.compile(r"\{\w+\}")
    assert {
        name: (english[name], chinese[name])
        for name in chinese
        if sorted(values.findall(english[name])) != sorted(values.findall(chinese[name]))
    } == {}


def test_every_name_that_a_view_asks_for_has_words_and_every_one_is_asked_for() -> None:
    shared, *others = (set(words("en", part)) for part in PARTS)
    everything = shared.union(*others)
    assert len(everything) == len(shared) + sum(map(len, others))  # no name is in two parts
    for parts, known in ((["list"], shared), (PARTS, everything)):
        text = sources(*parts)
        asked = set(re.findall(r'\b(?:t|count)\(\s*"([\w.-]+)"', text))
        assert asked - known == set()
        assert {name for name in known if not used(name, text)} == set()


@functools.cache
def mentioned(text: str) -> tuple[set[str], set[tuple[str, str]]]:
    families = set(_FAMILY.findall(text)) | {(prefix, "") for prefix in _EXPLAINED.findall(text)}
    return set(_NAMED.findall(text)), families


def used(name: str, text: str) -> bool:
    named, families = mentioned(text)
    plain = name.removesuffix("One")
    return bool({name, plain} & named) or any(
        one.startswith(prefix) and one.endswith(suffix) for prefix, suffix in families for one in (name, plain)
    )


def test_a_view_names_all_files_that_it_needs() -> None:
    page = reached(*PAGE)
    for part in PARTS:
        for own, *others in views(part):
            assert sorted({own, *others}) == sorted(set(reached(own)) - set(page)), own
    needed = set(page) | {file for part in PARTS for files in views(part) for file in files}
    assert {path.relative_to(APP).as_posix() for path in APP.rglob("*.js")} == needed


def test_a_bulk_retry_offers_the_codes_that_the_api_takes() -> None:
    offered = _NAMED.findall((APP / "views" / "codes.js").read_text().partition("=")[2])
    assert offered == [
        code.value for code in TaskCode if code not in {TaskCode.BUDGET_EXHAUSTED, TaskCode.COST_EXHAUSTED}
    ]
