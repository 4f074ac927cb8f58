"""Makes the mistakes in SQL: defines their kinds, and finds where in a statement or a piece of a statement each fits.

Schemas, the columns that a read returns, and the 1 of `SELECT 1` get no mistake.
"""

from collections.abc import Callable, Iterator

from mutation.source import Edit, Span
from mutation.sql_clauses import clause_edits
from mutation.sql_text import BOUNDARIES, Group, Part, Token, groups

STATUSES = ("pending", "processing", "completed", "failed", "cancelled")
_COMPARISONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "=": ("<>",),
    "<>": ("=",),
    "!=": ("=",),
}
_ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "<<": ">>"}
_TWINS = {"max": "min", "min": "max"}
_CLAUSE_WORDS = """
SELECT FROM WHERE SET VALUES ORDER LIMIT RETURNING GROUP HAVING WHEN THEN ELSE ON JOIN DO WINDOW INTO
"""
_CLAUSES = frozenset(_CLAUSE_WORDS.split())
_CONNECTIVES = {"AND": "OR", "OR": "AND"}


def sql_edits(text: str, whole: Group) -> Iterator[Edit]:
    """Yield every mistake that can be made in a string of SQL. `text` is the module's text."""
    for group in groups(whole):
        parts = group.parts
        clauses = _clauses(group)
        for rule in _RULES:
            for place in range(len(parts)):
                yield from rule(text, parts, place, clauses)
        yield from clause_edits(text, group)


def _clauses(group: Group) -> list[str]:
    """Return, for each part, the clause that contains it.

    A piece of SQL with a list of assignments acts like a SET clause.
    """
    words = [part.word for part in group.parts]
    is_list = group.kind == "whole" and "," in words and "=" in words and not _CLAUSES & set(words)
    clause, found = "SET" if is_list else "", []
    for word in words:
        clause = word if word in _CLAUSES else clause
        found.append(clause)
    return found


def _covered(text: str, parts: tuple[Part, ...]) -> tuple[Span, str]:
    """Return the common span of some parts, and their text."""
    span = Span(parts[0].span.start, parts[-1].span.end)
    return span, text[slice(*span)]


def _expression(span: Span, old: str, new: str, operator: str) -> Edit:
    """Make an edit that replaces an expression, and that keeps the nameless parameters of the old expression."""
    lost = old.count("?") - new.count("?")
    if lost > 0:
        new = keeping(new, ["?"] * lost)
    return Edit(span, new, operator, expression=True)


def keeping(expression: str, parameters: list[str]) -> str:
    """Return an expression with the same value that also uses the parameters, as the store demands."""
    for parameter in parameters:
        expression = f"iif({parameter} IS NULL, {expression}, {expression})"
    return expression


# --- conditions ---------------------------------------------------------------------------------------------


def _comparisons(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    part, before = parts[place], parts[place - 1].word if place else ""
    after = parts[place + 1] if place + 1 < len(parts) else None
    if part.word in _COMPARISONS and not _is_assignment(parts, place, clauses):
        for other in _COMPARISONS[part.word]:
            yield Edit(part.span, other, "SQL: comparison swapped")
    elif part.word in {"IN", "EXISTS"} and before != "NOT":
        yield Edit(part.span, f"NOT {part.word}", "SQL: condition negated")
    elif part.word == "IS" and after is not None and after.word != "NOT":
        yield Edit(part.span, "IS NOT", "SQL: condition negated")
    elif part.word == "NOT" and after is not None:
        yield Edit(Span(part.span.start, after.span.start), "", "SQL: negation dropped")


def _is_assignment(parts: tuple[Part, ...], place: int, clauses: list[str]) -> bool:
    """Whether the `=` at this place assigns a value to a column."""
    if clauses[place] != "SET" or place == 0 or not isinstance(parts[place - 1], Token):
        return False
    return parts[place - 1].word.isidentifier() and (place == 1 or parts[place - 2].word in {"SET", ","})


def _connectives(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    word = parts[place].word
    if word not in _CONNECTIVES:
        if word in {"WHERE", "ON"} and (operand := _operand(parts, place + 1)):
            alone = place + 1 + len(operand) >= len(parts) or parts[place + 1 + len(operand)].word not in _CONNECTIVES
            if alone and operand[0].word != "CONFLICT":
                span, old = _covered(text, operand)
                yield _expression(span, old, "1", "SQL: condition dropped")
        return
    yield Edit(parts[place].span, _CONNECTIVES[word], "SQL: AND and OR swapped")
    neutral = "1" if word == "AND" else "0"
    left = _operand_before(parts, place)
    is_first = place - len(left) <= 0 or parts[place - len(left) - 1].word not in _CONNECTIVES
    for operand in (left if is_first else (), _operand(parts, place + 1)):
        if operand:
            span, old = _covered(text, operand)
            yield _expression(span, old, neutral, "SQL: condition dropped")


def _operand(parts: tuple[Part, ...], start: int) -> tuple[Part, ...]:
    """Return the parts of the operand of AND or OR, or of the expression, that begins at this place."""
    end = start
    while end < len(parts) and parts[end].word not in BOUNDARIES | _CONNECTIVES.keys():
        end += 1
    return parts[start:end]


def _operand_before(parts: tuple[Part, ...], end: int) -> tuple[Part, ...]:
    start = end
    while start > 0 and parts[start - 1].word not in BOUNDARIES | _CONNECTIVES.keys():
        start -= 1
    return parts[start:end]


def _statuses(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    """Yield edits that replace a status by another status, or leave a status out of a list."""
    part = parts[place]
    if not isinstance(part, Token) or part.text.strip("'") not in STATUSES or part.kind != "text":
        return
    there = {other.text.strip("'") for other in parts if isinstance(other, Token)}
    turned = STATUSES[STATUSES.index(part.text.strip("'")) :] + STATUSES
    others = [status for status in turned if status not in there]
    if others:
        yield Edit(part.span, f"'{others[0]}'", "SQL: status swapped")
    is_list = len(parts) > 1 and all(
        isinstance(one, Token) and (one.kind == "text" or one.text == ",") for one in parts
    )
    if is_list:
        span = (
            Span(part.span.start, parts[place + 1].span.end + 1)
            if place + 1 < len(parts)
            else Span(parts[place - 1].span.start, part.span.end)
        )
        yield Edit(span, "", "SQL: status left out of a list")


# --- values -------------------------------------------------------------------------------------------------


def _assignments(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    """Yield an edit that leaves a column's value unchanged."""
    if parts[place].word == "=" and _is_assignment(parts, place, clauses):
        column, value = parts[place - 1], _value(parts, place + 1)
        assert isinstance(column, Token)
        if value:
            span, old = _covered(text, value)
            yield _expression(span, old, column.text, "SQL: assignment dropped")


def _value(parts: tuple[Part, ...], start: int) -> tuple[Part, ...]:
    """Return the parts of an assigned value, including operands of AND and OR."""
    end = start
    while end < len(parts) and parts[end].word not in BOUNDARIES:
        end += 1
    return parts[start:end]


def _numbers(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    part, before = parts[place], parts[place - 1].word if place else ""
    if not isinstance(part, Token) or part.kind != "number" or before == "SELECT":
        return
    value = int(part.text)
    # If 1 may mean true, the mistake is 0, because 2 would mean true as well.
    other = 0 if value == 1 and before not in {"+", "-", "->>"} else value + 1
    yield Edit(part.span, str(other), "SQL: constant off by one")


def _limits(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    part = parts[place]
    if place and parts[place - 1].word == "LIMIT" and isinstance(part, Token) and part.kind == "parameter":
        yield Edit(part.span, f"{part.text} + 1", "SQL: constant off by one")


def _arithmetic(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    sign = parts[place].word
    if sign not in _ARITHMETIC or not 0 < place < len(parts) - 1 or parts[place - 1].word in BOUNDARIES | {"("}:
        return
    yield Edit(parts[place].span, _ARITHMETIC[sign], "SQL: arithmetic swapped")
    left, right = _primary_before(parts, place), _primary(parts, place + 1)
    if left and right and sign in {"+", "-"}:
        span, old = _covered(text, (*left, parts[place], *right))
        yield _expression(span, old, _covered(text, left)[1], "SQL: summand dropped")


def _primary(parts: tuple[Part, ...], start: int) -> tuple[Part, ...]:
    """Return the parts of the name, number, bracket or function call that begins at this place."""
    is_call = start + 1 < len(parts) and _is_function(parts[start]) and isinstance(parts[start + 1], Group)
    return parts[start : start + 2] if is_call else parts[start : start + 1]


def _primary_before(parts: tuple[Part, ...], end: int) -> tuple[Part, ...]:
    is_call = end > 1 and isinstance(parts[end - 1], Group) and _is_function(parts[end - 2])
    return parts[end - 2 : end] if is_call else parts[end - 1 : end]


def _is_function(part: Part) -> bool:
    """Whether a part is a function's name.

    The project writes SQL functions in lower case, and keywords in upper case.
    """
    return isinstance(part, Token) and part.kind == "word" and (part.text.islower() or part.text == "CAST")


def _functions(text: str, parts: tuple[Part, ...], place: int, clauses: list[str]) -> Iterator[Edit]:
    """Yield edits that use only one of coalesce's arguments, and that swap min and max."""
    name = parts[place].word.lower()
    if place + 1 == len(parts) or not isinstance(arguments := parts[place + 1], Group):
        return
    if name in _TWINS:
        yield Edit(parts[place].span, _TWINS[name], "SQL: function swapped")
    if name == "coalesce":
        span, old = _covered(text, parts[place : place + 2])
        for argument in _split(arguments.parts):
            yield _expression(span, old, f"({_covered(text, argument)[1]})", "SQL: default dropped")


def _split(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    """Yield the parts between commas."""
    start = 0
    for place, part in enumerate(parts):
        if part.word == ",":
            yield parts[start:place]
            start = place + 1
    yield parts[start:]


_RULES: tuple[Callable[[str, tuple[Part, ...], int, list[str]], Iterator[Edit]], ...] = (
    _comparisons,
    _connectives,
    _statuses,
    _assignments,
    _numbers,
    _limits,
    _arithmetic,
    _functions,
)
