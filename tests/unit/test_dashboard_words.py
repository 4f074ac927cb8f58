"""The dashboard's words: the same names in both languages, and none missing or left over."""

import re
from pathlib import Path

from src.core.codes import TaskCode

APP = Path(__file__).resolve().parents[2] / "public" / "app"
_ENTRY = re.compile(r'^ {2}(?:"([\w.-]+)"|(\w+)):\s*(?:\n\s*)?"((?:[^"\\]|\\.)*)",$', re.MULTILINE)
_NAMED = re.compile(r'"([\w.-]+)"')
_FAMILY = re.compile(r"\b(?:t|count)\(\s*`([\w.-]*)\$\{[^}]*\}(\w*)`")
_EXPLAINED = re.compile(r"const known = `([\w.]+)\$")


def words(language: str) -> dict[str, str]:
    """The names of a language's module and what they say."""
    text = (APP / f"{language}.js").read_text()
    found = {quoted or plain: said for quoted, plain, said in _ENTRY.findall(text)}
    assert len(found) == len(re.findall(r"^ {2}\S.*:", text, re.MULTILINE)), "a line is not understood"
    return found


def sources() -> str:
    return "\n".join(path.read_text() for path in sorted(APP.glob("*.js")) if path.stem not in {"en", "zh"})


def test_both_languages_have_the_same_names_and_values() -> None:
    """A name has words in both, with the same values to fill in."""
    english, chinese = words("en"), words("zh")
    assert list(english) == list(chinese)
    assert {name for name in english if not chinese[name]} == set()
    values = re.compile(r"\{\w+\}")
    assert {
        name: (english[name], chinese[name])
        for name in english
        if sorted(values.findall(english[name])) != sorted(values.findall(chinese[name]))
    } == {}


def test_every_name_that_a_view_asks_for_has_words_and_every_one_is_asked_for() -> None:
    """Names stand in the sources as they are, or are a family: `status.` and what the API says."""
    text, known = sources(), set(words("en"))
    asked = set(re.findall(r'\b(?:t|count)\(\s*"([\w.-]+)"', text))
    assert asked - known == set()
    families = set(_FAMILY.findall(text)) | {(prefix, "") for prefix in _EXPLAINED.findall(text)}
    named = set(_NAMED.findall(text))

    def used(name: str) -> bool:
        plain = name.removesuffix("One")
        return bool({name, plain} & named) or any(
            one.startswith(prefix) and one.endswith(suffix) for prefix, suffix in families for one in (name, plain)
        )

    assert {name for name in known if not used(name)} == set()


def test_a_bulk_retry_offers_the_codes_that_the_api_takes() -> None:
    """All codes of tasks but the one that a bulk retry refuses."""
    offered = _NAMED.findall((APP / "codes.js").read_text().partition("=")[2])
    assert offered == [code.value for code in TaskCode if code is not TaskCode.BUDGET_EXHAUSTED]
