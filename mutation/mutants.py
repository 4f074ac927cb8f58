"""Defines mutants: their content, their names, and how a mutant is put into the text of a module."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mutation.source import Edit, Source, Span


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutant: a mistake in one file.

    `id` is a digest of the change, and does not depend on the line number. `path` is relative to the root of the
    project. `span` is in characters. `scope` names the function or the constant that contains the mutant. `Edit`
    explains `expression`.
    """

    id: str
    path: str
    span: Span
    replacement: str
    operator: str
    scope: str
    line: int
    before: str
    expression: bool = False

    @property
    def is_sql(self) -> bool:
        """Whether the mistake is in SQL."""
        return self.operator.startswith("SQL: ")

    @property
    def where(self) -> str:
        """The place of the mistake as `path:line`, which editors understand."""
        return f"{self.path}:{self.line}"

    @property
    def summary(self) -> str:
        """Describe the change in one line."""
        before, after = (" ".join(text.split()) for text in (self.before, self.replacement))
        return f"{self.operator}: {before or '(nothing)'} → {after or '(nothing)'}"

    def put_into(self, text: str) -> str:
        """Return the text of the mutant's file with the mistake in it."""
        assert text[slice(*self.span)] == self.before, f"{self.path} has changed since mutant {self.id} was found"
        return text[: self.span.start] + self.replacement + text[self.span.end :]

    def with_replacement(self, replacement: str) -> "Mutant":
        """Return the mutant with another replacement text and the same id."""
        return replace(self, replacement=replacement)


def named(path: str, source: Source, edits: Iterable[Edit]) -> Iterator[Mutant]:
    """Yield a mutant for each different edit of a file, in the order of the text."""
    seen: Counter[tuple[str, ...]] = Counter()
    unlike = {(edit.span, edit.replacement): edit for edit in edits}
    for edit in sorted(unlike.values(), key=lambda one: (one.span, one.replacement)):
        before = source.text[slice(*edit.span)]
        if before == edit.replacement:
            continue
        scope = source.scope_of(edit.span.start) or constant_of(source, edit.span.start)
        parts = (path, scope, edit.operator, before, edit.replacement)
        seen[parts] += 1
        digest = hashlib.sha256("\0".join((*parts, str(seen[parts]))).encode()).hexdigest()
        yield Mutant(
            digest[:8],
            path,
            edit.span,
            edit.replacement,
            edit.operator,
            scope,
            source.line_of(edit.span.start),
            before,
            edit.expression,
        )


def constant_of(source: Source, offset: int) -> str:
    """Return the name to which the module's statement at this character assigns, '' if it assigns to none."""
    for statement in source.tree.body:
        span = source.span(statement)
        if span.start <= offset < span.end:
            return source.text[span.start : span.end].partition(" ")[0].partition(":")[0].strip()
    return ""


def difference(mutant: Mutant, text: str) -> str:
    """Return the mutant as a unified diff of its file's text."""
    lines = difflib.unified_diff(
        text.splitlines(keepends=True),
        mutant.put_into(text).splitlines(keepends=True),
        f"a/{mutant.path}",
        f"b/{mutant.path}",
        n=2,
    )
    return "".join(lines)
