"""Finds the strings of SQL in a module, and splits each string into the parts in which mistakes can be made.

The module is no full parser of SQL. The module only recognizes brackets, CASE … END, and the words that begin a clause.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mutation.source import Source, Span

_VERB = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
_QUOTES = re.compile(r"""[A-Za-z]*(\"\"\"|'''|"|')""")
_TOKENS = re.compile(
    r"""
      (?P<blank>\s+|--[^\n]*)
    | (?P<text>'(?:[^']|'')*')
    | (?P<number>\d+)
    | (?P<parameter>:[a-z_][a-z0-9_]*|\?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
    | (?P<sign><=|>=|<>|!=|<<|>>|->>|->|\|\||[-+*/%<>=(),;])
    """,
    re.VERBOSE,
)
# The words that end an operand of AND or OR, or an assigned value.
_BOUNDARIES = """
SELECT FROM WHERE SET VALUES ORDER LIMIT RETURNING GROUP HAVING WHEN THEN ELSE END ON UNION JOIN LEFT CROSS AS DO
WINDOW BY ASC DESC ALL DISTINCT INTO UPDATE INSERT DELETE , ;
"""
BOUNDARIES = frozenset(_BOUNDARIES.split())


@dataclass(frozen=True, slots=True)
class Token:
    """A token of SQL, such as a word, a number or a sign.

    A placeholder of a formatted string, such as `{NOW}`, is one token of kind `piece`.
    """

    kind: str
    text: str
    span: Span

    @property
    def word(self) -> str:
        """The word or sign in capitals, or '' if the token cannot be a keyword."""
        return self.text.upper() if self.kind in {"word", "sign"} else ""


@dataclass(frozen=True, slots=True)
class Group:
    """The parts inside brackets, of a CASE … END, or of a whole string."""

    kind: str  # The kind of a group is "brackets", "case" or "whole".
    parts: "tuple[Token | Group, ...]"  # The parts of a group exclude the brackets, but include CASE and END.
    span: Span

    word = ""


type Part = Token | Group


def groups(group: Group) -> Iterator[Group]:
    """Yield a group and all groups inside the group."""
    yield group
    for part in group.parts:
        if isinstance(part, Group):
            yield from groups(part)


def sql_strings(source: Source, *, all_of_them: bool) -> Iterator[Group]:
    """Yield the strings of SQL: those that begin with a verb of SQL, or all strings except docstrings and classes'."""
    documents = {
        statement.value
        for statement in ast.walk(source.tree)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    classes = (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))
    of_classes = {node for one in classes for node in ast.walk(one)}
    for node in _strings(source.tree):
        span = _inner(source, node)
        if node in documents or span is None:
            continue
        text = source.text[slice(*span)]
        if (all_of_them and node not in of_classes) or _VERB.match(text):
            yield Group("whole", _nested(_tokens(source.text, span, formatted=isinstance(node, ast.JoinedStr))), span)


def _strings(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield the strings of a tree, and separately the strings in the placeholders of formatted strings."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node
        return
    if isinstance(node, ast.JoinedStr):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant):
            continue
        yield from _strings(child)


def _inner(source: Source, node: ast.Constant | ast.JoinedStr) -> Span | None:
    """Return the span of a string's text, without its quotes, in the module.

    The result is None if the string is made of several strings, or has escapes.
    """
    span = source.span(node)
    text = source.text[slice(*span)]
    quotes = _QUOTES.match(text)
    if quotes is None:
        return None
    inner = text[quotes.end() : -len(quotes[1])]
    plain = isinstance(node, ast.JoinedStr) or (isinstance(node.value, str) and inner == node.value)
    return Span(span.start + quotes.end(), span.end - len(quotes[1])) if plain and "\\" not in inner else None


def _tokens(text: str, span: Span, *, formatted: bool) -> Iterator[Token]:
    place = span.start
    while place < span.end:
        if formatted and text[place] == "{":
            end = _placeholder_end(text, place)
            kind = "piece"
        elif found := _TOKENS.match(text, place, span.end):
            end, kind = found.end(), found.lastgroup or ""
        else:
            end, kind = place + 1, "other"
        if kind != "blank":
            yield Token(kind, text[place:end], Span(place, end))
        place = end


def _placeholder_end(text: str, start: int) -> int:
    """Return the end of the placeholder that begins at an opening brace.

    Strings in the placeholder may have braces of their own.
    """
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place + 1
    raise AssertionError("a placeholder without an end")


def _nested(tokens: Iterator[Token]) -> tuple[Part, ...]:
    """Combine the contents of brackets, and CASE … END, into groups."""
    open_groups: list[list[Part]] = [[]]
    opening: list[Token] = []
    for token in tokens:
        if token.text == "(" or token.word == "CASE":
            opening.append(token)
            open_groups.append([token] if token.word == "CASE" else [])
        elif opening and token.word == (")" if opening[-1].text == "(" else "END"):
            start = opening.pop()
            parts = open_groups.pop()
            kind = "brackets" if start.text == "(" else "case"
            parts += [token] if kind == "case" else []
            open_groups[-1].append(Group(kind, tuple(parts), Span(start.span.start, token.span.end)))
        else:
            open_groups[-1].append(token)
    # A piece of SQL may leave brackets open. The parts of brackets that stay open are returned without a group.
    return tuple(part for parts in open_groups for part in parts)
