"""Finds the one JSON object in a model's output that is not JSON itself.

`object_in` never closes, adds or guesses anything in the output. `object_in` removes a byte order mark, a model's
thoughts at the beginning, prose and a code fence around the object, and commas before a closing bracket. An output from
which `object_in` would have to remove anything else is refused. Finding the object takes time linear in the length of
the output.
"""

import re
from typing import Final

BYTE_ORDER_MARK: Final = "\ufeff"
# The tags with which models begin and end their thoughts, in any case of letters.
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
_ANY_CLOSING_TAG = re.compile("|".join(re.escape(closing) for _, closing in THOUGHTS), re.IGNORECASE)
# Matches a token of JSON: a whole string, one structural character, or a quotation mark whose string does not end. The
# pattern for a string in JSON never gives back what it has read, so the text is read only once.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},:"]|[^\s\[\]{},:"]++', re.DOTALL)
_JSON_LINE = re.compile(r'^[ \t]*+["\[]', re.MULTILINE)
_VALUE_MAY_FOLLOW = frozenset("[{,:")
_FENCE: Final = "```"
_MARKS_OF_A_FENCE: Final = 2


class NoObject(Exception):
    """A model's output does not contain exactly one whole JSON object.

    The error's message says which JSON object was expected.
    """


def object_in(text: str) -> str:
    """Return the text of the one JSON object in a model's output, without commas before closing brackets.

    The text that `object_in` returns may still not be valid JSON. Raises NoObject.
    """
    text = _without_thoughts(text.removeprefix(BYTE_ORDER_MARK))
    start = text.find("{")
    if start < 0:
        raise NoObject("a JSON object; the text has none")
    _check_before(text[:start])
    found, end = _whole_object(text, start)
    _check_after(text[end:])
    if text.count(_FENCE, 0, start) + text.count(_FENCE, end) >= 2 * _MARKS_OF_A_FENCE:
        raise NoObject("one JSON object; the text has more than one code fence")
    return found


def _without_thoughts(text: str) -> str:
    """Remove a model's thoughts from the beginning of its output.

    Raises NoObject if a model's thoughts in the output do not end.
    """
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
    """Return the place of the next character that is not white space."""
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _check_before(before: str) -> None:
    """Refuse an object if the text before it may belong to a larger JSON value around it, or to a model's thoughts."""
    if "}" in before:
        raise NoObject("one JSON object; the text has a closing brace before it")
    if _OPENING_TAGS.search(before):
        raise NoObject("a JSON object; thoughts begin before it and do not end")
    tail = before.rstrip()
    is_named = tail.endswith(":") and tail[:-1].rstrip().endswith('"')
    if is_named or tail.endswith(",") or _JSON_LINE.search(before):
        raise NoObject("one JSON object; it stands inside another JSON value")


def _check_after(after: str) -> None:
    """Refuse an object if a second one follows, or text that makes it a part of a larger JSON value or of thoughts.

    Some servers leave out the tag with which thoughts begin, because it belongs to the prompt.
    """
    if "{" in after or "}" in after:
        raise NoObject("one JSON object; the text has more than one, or a brace too many")
    if after.lstrip()[:1] in {",", ":", "[", "]"}:
        raise NoObject("one JSON object; it stands inside another JSON value")
    if _ANY_CLOSING_TAG.search(after):
        raise NoObject("a JSON object; the only one stands in thoughts, which end after it")


def _whole_object(text: str, start: int) -> tuple[str, int]:
    """Return the object that begins at `start`, without commas before closing brackets, and the place after it."""
    depth = 0
    kept: list[str] = []
    kept_to = start
    comma: int | None = None  # the latest token's place, if it is a comma after a value
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
