"""Reads a model's output as JSON; if it is not JSON, finds the one JSON object in it.

`object_in` never closes, adds or guesses anything. It removes a byte order mark, a model's thoughts at the beginning,
prose and a code fence around the object, and commas before a closing bracket. It refuses an output from which it would
have to remove anything else. It takes time linear in the length of the output.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ...kernel.domain.limits import VALUE_LEVELS_MOST
from .schema.check import Fault
from .schema.document import COMPACT, MAYBE_INFINITE
from .schema.pointers import shown

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
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BRACES = bytes.maketrans(b"[]", b"{}")
_NAME_CHARS_MOST = 100


class Unacceptable(ValueError):
    """A model's output has not exactly one whole JSON object, or one that is not I-JSON. Says what was expected."""


def object_in(text: str) -> str:
    """Return the text of the one JSON object in a model's output, without commas before closing brackets.

    The text that `object_in` returns may still not be valid JSON. Raises Unacceptable.
    """
    text = _without_thoughts(text.removeprefix(BYTE_ORDER_MARK))
    start = text.find("{")
    if start < 0:
        raise Unacceptable("a JSON object; the text has none")
    _check_before(text[:start])
    found, end = _whole_object(text, start)
    _check_after(text[end:])
    if text.count(_FENCE, 0, start) + text.count(_FENCE, end) >= 2 * _MARKS_OF_A_FENCE:
        raise Unacceptable("one JSON object; the text has more than one code fence")
    return found


def _without_thoughts(text: str) -> str:
    """Remove a model's thoughts from the beginning of its output. Raises Unacceptable if they do not end."""
    at = 0
    while True:
        at = _solid(text, at)
        opening = _OPENING_TAGS.match(text, at)
        if opening is None:
            return text[at:]
        closing = _CLOSING_TAGS[opening[0].lower()].search(text, opening.end())
        if closing is None:
            raise Unacceptable("a JSON object; the text is a thought that does not end")
        at = closing.end()


def _solid(text: str, at: int) -> int:
    """Return the place of the next character that is not white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _check_before(before: str) -> None:
    """Refuse an object if the text before it may belong to a larger JSON value around it, or to a model's thoughts."""
    if "}" in before:
        raise Unacceptable("one JSON object; the text has a closing brace before it")
    if _OPENING_TAGS.search(before):
        raise Unacceptable("a JSON object; thoughts begin before it and do not end")
    tail = before.rstrip()
    is_named = tail.endswith(":") and tail[:-1].rstrip().endswith('"')
    if is_named or tail.endswith(",") or _JSON_LINE.search(before):
        raise Unacceptable("one JSON object; it stands inside another JSON value")


def _check_after(after: str) -> None:
    """Refuse an object if a second one follows, or text that makes it a part of a larger JSON value or of thoughts.

    Some servers leave out the tag with which thoughts begin, because it belongs to the prompt.
    """
    if "{" in after or "}" in after:
        raise Unacceptable("one JSON object; the text has more than one, or a brace too many")
    if after.lstrip()[:1] in {",", ":", "[", "]"}:
        raise Unacceptable("one JSON object; it stands inside another JSON value")
    if _ANY_CLOSING_TAG.search(after):
        raise Unacceptable("a JSON object; the only one is in thoughts, not in the answer")


def _whole_object(text: str, start: int) -> tuple[str, int]:
    """Return the object that begins at `start`, without commas before closing brackets, and the place after it."""
    depth = 0
    kept: list[str] = []
    kept_to = start
    comma: int | None = None  # where the latest token is, if it is a comma after a value
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
    raise Unacceptable("a whole JSON object; the text ends inside it")


@dataclass(frozen=True, slots=True)
class OutputReading:
    """What was read from a model's output, either a `value`, with the same as `compact` JSON, or a `fault`."""

    value: dict[str, object] | None = None
    compact: str = ""
    repaired: bool = False  # Whether the output was not JSON, and the object was taken out of it.
    fault: Fault | None = None


class _NotJson(ValueError):
    """A text is not JSON. The message says what was expected."""


def read_output(text: str) -> OutputReading:
    """Read the JSON object in a model's output: numbers finite, each name once in an object, characters whole.

    If the output is not JSON, `object_in` looks for the one JSON object in it. JSON that is no object is a fault.
    """
    try:
        try:
            return _reading(text, repaired=False)
        except _NotJson as error:
            expected = str(error)  # with the place in the model's own text, before any repair
        with suppress(_NotJson):
            return _reading(object_in(text), repaired=True)
    except Unacceptable as error:
        expected = str(error)
    return OutputReading(fault=Fault("", expected))


def _reading(text: str, *, repaired: bool) -> OutputReading:
    """Read a text that must be JSON as a whole. Raises _NotJson, or Unacceptable."""
    skeleton = _skeleton(text)
    if _levels_at_most(skeleton) > VALUE_LEVELS_MOST:
        raise Unacceptable(f"JSON that is at most {VALUE_LEVELS_MOST} levels deep")
    value = _parse(text, is_large=MAYBE_INFINITE.search(skeleton) is not None)
    try:
        written = COMPACT(value)
    except ValueError:
        raise _infinite() from None
    # Fewer colons in the rewritten JSON than in the model's text mean that an object had a name twice: the parser keeps
    # only the last of two equal names.
    if _skeleton(written).count(":") < skeleton.count(":"):
        json.loads(text, object_pairs_hook=_unique)
        raise AssertionError("no name stands twice, but a colon is missing")
    if not written.isascii():
        try:
            written.encode()
        except UnicodeEncodeError:
            raise Unacceptable("text without halves of surrogate pairs, which are not characters") from None
    if not isinstance(value, dict):
        raise Unacceptable("a JSON object")
    return OutputReading(value, written, repaired)


def _skeleton(text: str) -> str:
    """Return the part of a JSON text that is outside strings.

    Behind a syntax error the result means nothing. In JSON, backslashes occur only in strings. Without escaped
    backslashes, and then escaped quotation marks, each quotation mark begins or ends a string.
    """
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    return "".join(text.split('"')[::2])


def _levels_at_most(skeleton: str) -> int:
    """Return how deep brackets are nested, or more if they do not match, or above VALUE_LEVELS_MOST."""
    brackets = skeleton.encode("ascii", "replace").translate(_BRACES, _NOT_BRACKETS)
    levels = 0
    size = -1
    while brackets and len(brackets) != size and levels <= VALUE_LEVELS_MOST:
        size = len(brackets)
        brackets = brackets.replace(b"{}", b"")  # removes each innermost pair
        levels += 1
    return levels + brackets.count(b"{")


def _parse(text: str, *, is_large: bool) -> object:
    """Parse JSON. If `is_large`, each whole number is checked. Infinite floats are found when they are written."""
    try:
        found: object = json.loads(text, parse_constant=_no_constant, parse_int=_finite_integer if is_large else None)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")  # some of Python's error messages end with " at"
        raise _NotJson(f"JSON; at line {error.lineno}, column {error.colno}: {reason}") from None
    return found


def _unique(pairs: list[tuple[str, object]]) -> None:
    """Raise Unacceptable for a name that an object has twice."""
    seen = set[str]()
    for name, _ in pairs:
        if name in seen:
            raise Unacceptable(f"each name once in an object; {json.dumps(shown(name, _NAME_CHARS_MOST))} stands twice")
        seen.add(name)


def _no_constant(name: str) -> object:
    raise Unacceptable(f"finite numbers; {name} is none")


def _infinite() -> Unacceptable:
    return Unacceptable("finite numbers; one is larger than the largest double")


def _finite_integer(digits: str) -> int:
    try:
        number = int(digits)  # which refuses much longer ones
        float(number)
    except (ValueError, OverflowError):
        raise _infinite() from None
    return number
