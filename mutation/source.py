"""A module as text and as a syntax tree, with the place of each node in the text."""

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
type Function = ast.FunctionDef | ast.AsyncFunctionDef


class Span(NamedTuple):
    """A part of a text, from one character up to another."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """A mistake that can be put into a module: a new text that replaces a span.

    If `expression` is set, the new text is an SQL expression. A further edit may wrap this expression in another one
    that keeps the parameters of the old text.
    """

    span: Span
    replacement: str
    operator: str
    expression: bool = False


class Source:
    """A module's text and its syntax tree, and conversions between their places. Raises SyntaxError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._spans: dict[ast.AST, Span] = {}  # Each statement is asked for again with every mutant of its module.

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node of the tree that contains each other node."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def offset(self, line: int, column: int) -> int:
        """Return the offset in the text of a position of the tree, whose columns count bytes of UTF-8."""
        text = self._lines[line - 1]
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> Span:
        """Return the span of a node in the text."""
        known = self._spans.get(node)
        if known is None:
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            start = self.offset(node.lineno, node.col_offset)
            known = self._spans[node] = Span(start, self.offset(node.end_lineno, node.end_col_offset))
        return known

    def segment(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        """Return the text of a node."""
        return self.text[slice(*self.span(node))]

    def line_of(self, offset: int) -> int:
        """Return the number, from 1, of the line that contains a character."""
        return self.text.count("\n", 0, offset) + 1

    def scope_of(self, offset: int) -> str:
        """Return the name of the outermost function that contains a character, or '' outside of functions.

        The name of a method is `Class.method`. Inner functions are not named, because they run only if the outermost
        function has run.
        """
        names: list[str] = []
        body: list[ast.stmt] = self.tree.body
        while True:
            inside = [node for node in body if self.span(node).start <= offset < self.span(node).end]
            match inside:
                case [ast.ClassDef(name=name, body=body)]:
                    names.append(name)
                case [ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name)]:
                    return ".".join([*names, name])
                case _:
                    return ""


def enclosing_function(source: Source, node: ast.AST) -> Function | None:
    """Return the innermost function that contains a node of the tree."""
    parent = source.parents.get(node)
    while parent is not None and not isinstance(parent, FUNCTIONS):
        parent = source.parents.get(parent)
    return parent
