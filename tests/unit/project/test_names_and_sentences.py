"""Names stand for one thing, few sentences are riddles, and the dashboard has all texts in both languages."""

import functools
import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from src.kernel.domain.codes import TaskCode

ROOT = Path(__file__).resolve().parents[3]
# Words that mark a sentence that few readers can restate. In each folder only a limited number of words may match.
_RIDDLES = re.compile(
    r"\b(?:nobody|whoever|of which|for whom|(?:is|are) told|comes to|ha(?:s|ve) come|h[oe]lds? to|meanwhile|thereby"
    r"|at that|so that is)\b",
    re.IGNORECASE,
)
RIDDLES_MOST = {"src": 12, "simulator": 30, "cli": 12, "local": 8, "docs": 5}
_SENTENCES = {".py", ".md", ".js", ".mjs", ".sql", ".toml"}
_EXPORTED = re.compile(r"^export (?:default )?(?:async )?(?:class|function\*?|const|let) (\w+)", re.MULTILINE)
_CLASS = re.compile(r"^class ([A-Za-z]\w*)", re.MULTILINE)


def files_of(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if "/vendor/" not in name and (ROOT / name).is_file()]


def twins(names: list[str], pattern: re.Pattern[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for defined in pattern.findall((ROOT / name).read_text("utf-8")):
            found[defined].append(name)
    assert len(found) > 50
    return {defined: where for defined, where in found.items() if len(where) > 1}


def test_no_two_classes_have_one_name() -> None:
    names = [name for name in files_of("src", "cli", "local", "ops", "simulator") if name.endswith(".py")]
    assert twins(names, _CLASS) == {}


def test_no_two_modules_of_the_page_export_one_name() -> None:
    assert twins([name for name in files_of("public/app") if name.endswith(".js")], _EXPORTED) == {}


def test_riddles_stay_few() -> None:
    for folder, most in RIDDLES_MOST.items():
        names = [name for name in files_of(folder) if Path(name).suffix in _SENTENCES and ".zh-CN." not in name]
        found = [f"{name}: {word[0]}" for name in names for word in _RIDDLES.finditer((ROOT / name).read_text("utf-8"))]
        assert len(found) <= most, found


def test_the_page_s_foundation_knows_no_view():
    base = ROOT / "public" / "app" / "base"
    imported = {
        (path.name, source)
        for path in base.glob("*.js")
        for source in re.findall(r'\b(?:from|import) "([^"]+)"', path.read_text("utf-8"))
    }
    assert imported
    assert {one for one in imported if not re.fullmatch(r"(?:\.|\.\./\.\./vendor)/\w+\.js", one[1])} == set()


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
