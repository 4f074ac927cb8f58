"""Finds the one JSON object in an output that is not JSON as it stands. Nothing is ever closed, added or guessed.

What is taken away: a byte order mark, a model's thoughts at the beginning, prose and a code fence around the object,
and commas before a closing bracket. Everything else is a refusal. All of it is linear in the text's length.
"""

import re
from typing import Final

BYTE_ORDER_MARK: Final = "\ufeff"
# How models mark their thoughts: the opening tag, and the one that closes it. Case is ignored.
THOUGHTS: Final = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("[think]", "[/think]"),
    ("<|start_thinking|>", "<|end_thinking|>"),
    ("◁think▷", "◁/think▷"),
)
_OPENING_TAGS = re.compile("|".join(re.escape(opening) for opening, _ in THOUGHTS), re.IGNORECASE)
_CLOSING_TAGS = {opening: re.compile(re.escape(closing), re.IGNORECASE) for opening, closing in THOUGHTS}
# A whole string, one structural character, or a quotation mark whose string does not end. A string consumes all that it
# reads, so nothing is read twice.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},:"]|[^\s\[\]{},:"]++', re.DOTALL)
_JSON_LINE = re.compile(r'^[ \t]*+["\[]', re.MULTILINE)
_VALUE_MAY_FOLLOW = frozenset("[{,:")


class NoObject(Exception):
    """The text does not hold exactly one whole object. The message says what was expected."""


def object_in(text: str) -> str:
    """Return the text of the one object in an output, without commas before closing brackets.

    What is returned may still be no JSON. Raises NoObject.
    """
    text = _without_thoughts(text.removeprefix(BYTE_ORDER_MARK))
    start = text.find("{")
    if start < 0:
        raise NoObject("a JSON object; the text has none")
    _check_before(text[:start])
    found, end = _whole_object(text, start)
    _check_after(text[end:])
    return found


def _without_thoughts(text: str) -> str:
    """Take away thoughts at the beginning, one after the other. Thoughts without an end hide the answer."""
    place = 0
    while True:
        place = _solid(text, place)
        opening = _OPENING_TAGS.match(text, place)
        if opening is None:
            return text[place:]
        closing = _CLOSING_TAGS[opening[0].lower()].search(text, opening.end())
        if closing is None:
            raise NoObject("a JSON object; the text is a thought that does not end")
        place = closing.end()


def _solid(text: str, place: int) -> int:
    """Return the place of the next character that is not a blank."""
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _check_before(before: str) -> None:
    """Refuse text before an object that may belong to a larger JSON value, or to thoughts."""
    if "}" in before:
        raise NoObject("one JSON object; the text has a closing brace before it")
    if _OPENING_TAGS.search(before):
        raise NoObject("a JSON object; thoughts begin before it and do not end")
    tail = before.rstrip()
    is_named = tail.endswith(":") and tail[:-1].rstrip().endswith('"')
    if is_named or tail.endswith(",") or _JSON_LINE.search(before):
        raise NoObject("one JSON object; it stands inside another JSON value")


def _check_after(after: str) -> None:
    """Refuse a second object, and what makes the object a part of a larger JSON value."""
    if "{" in after or "}" in after:
        raise NoObject("one JSON object; the text has more than one, or a brace too many")
    if after.lstrip()[:1] in {",", ":", "[", "]"}:
        raise NoObject("one JSON object; it stands inside another JSON value")


def _whole_object(text: str, start: int) -> tuple[str, int]:
    """Return the object that begins at a bracket, without trailing commas, and the place after it."""
    depth = 0
    kept: list[str] = []
    kept_to = start
    comma: int | None = None  # where the latest token is, if it is a comma that follows a value
    before = "{"
    for match in _TOKENS.finditer(text, start):
        mark = match[0]
        if mark in {"}", "]"}:
            if comma is not None:
                kept.append(text[kept_to:comma])
                kept_to = comma + 1
            depth -= 1
            if depth == 0:
                kept.append(text[kept_to : match.end()])
                return "".join(kept), match.end()
        elif mark in {"{", "["}:
            depth += 1
        elif mark == '"':
            break
        comma = match.start() if mark == "," and before not in _VALUE_MAY_FOLLOW else None
        before = mark
    raise NoObject("a whole JSON object; the text ends inside it")
