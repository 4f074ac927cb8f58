"""The glossary is short, in groups, and explains the words in the names of the kernel's classes."""

import ast
import re

from tests.support.shell_blocks import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8").partition("\n## In Chinese\n")[0]
GROUPS = [
    re.findall(r"^\| ([a-z][^|]*) \| ([^|]+) \| `([^`]+)` \|$", part, re.MULTILINE) for part in PAGE.split("\n## ")[1:]
]
ROWS = [row for group in GROUPS for row in group]
# Words in names of classes that mean what they mean in English, in HTTP or in Python.
PLAIN = frozenset(
    re.findall(
        r"\w+",
        """
    aborted accepted access act admission ai also answer answers api asked at backlog binding blob body bound
    boundaries brief broken bucket bytes cache cap catalogue check checks client clock code column conditions
    configuration connection continue cost counts courier d database day detail direct early end ended ending
    endpoint entry error everyone exchange exhausted expiry fail failed failure failures fault faults field fields
    filter finish finished full gate gone guard heartbeats http index inherited input key known large last latency
    latest limit limited limiter links list listener load local log long lookup lookups lost malformed many memory
    misconfigured mismatched missing model moment money much new no not off old on once onceover open openapi
    opening options pacer page parameter path phase piped plain planned presented price probed problem protocol
    provider pulse quota rate reached reading record recorder refusal refused repeated replayed reply report
    request resent result resuming schedule scheduler seen settings short silent small soon sought source span
    spent standing started state statement stopped storage store structure structured submission submitted text
    texts timeout too trigger unacceptable unavailable unclaimed unfinished unheld unsaved unsupported up usage
    use used value view visit wait whole with work workers write
    """,
    )
)


def known_words() -> set[str]:
    """Return the words that the glossary explains, in rows of their own or in italics."""
    named = [head for head, _, _ in ROWS] + [
        one for _, meaning, _ in ROWS for one in re.findall(r"\*([^*]+)\*", meaning)
    ]
    return {word for name in named for word in re.findall(r"[a-z]+", name)}


def stems(word: str) -> set[str]:
    """Return the forms in which the glossary may have a word: health for Healths, retry for Retries."""
    endings = (
        ("", ""),
        ("s", ""),
        ("ies", "y"),
        ("ed", ""),
        ("ed", "e"),
        ("ing", ""),
        ("er", ""),
        ("ure", "e"),
        ("able", ""),
    )
    found = {word.removesuffix(old) + new for old, new in endings if word.endswith(old)}
    return found | {stem + "s" for stem in found}


def unexplained(source: str) -> set[str]:
    """Return the words in names of classes that are neither plain nor in the glossary."""
    names = [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    words = {word.lower() for name in names for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", name)}
    return {word for word in words - PLAIN if not stems(word) & known_words()}


def test_each_class_of_the_kernel_has_a_known_name() -> None:
    """Each word in a class name of the kernel is plain English, or the glossary explains it."""
    found = {
        path.name: unexplained(path.read_text("utf-8")) for path in sorted((ROOT / "src" / "kernel").rglob("*.py"))
    }
    assert {name: words for name, words in found.items() if words} == {}
    assert unexplained("class Rung: ...") == {"rung"}


def test_the_glossary_is_short_and_in_groups() -> None:
    """The five groups have at most 70 words, the first at most 30, and no word occurs twice."""
    heads = [head for head, _, _ in ROWS]
    assert len(GROUPS) == 5
    assert all(GROUPS)
    assert len(GROUPS[0]) <= 30
    assert 50 < len(heads) <= 70
    assert len(heads) == len(set(heads))
    assert {"batch", "line", "file", "part", "schema", "gap"} <= set(heads)


def test_the_glossary_knows_where_its_words_live() -> None:
    """Each word has a meaning, and the path of an existing module."""
    assert PAGE.count("\n| ") == len(ROWS) + 2 * len(GROUPS)
    assert all(meaning.endswith((".", ".)")) for _, meaning, _ in ROWS)
    assert [path for _, _, path in ROWS if not (ROOT / "src" / path).is_file() and not (ROOT / path).is_file()] == []
