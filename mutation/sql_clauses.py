"""Makes mistakes in whole parts of SQL statements, namely CASE, ON CONFLICT, ORDER BY and LEFT JOIN."""

from collections.abc import Iterator

from mutation.source import Edit, Span
from mutation.sql_text import BOUNDARIES, Group, Part, Token


def clause_edits(text: str, group: Group) -> Iterator[Edit]:
    """Yield the mistakes that can be made in the clauses of a group, but not those of its inner groups."""
    if group.kind == "case":
        yield from _cases(text, group)
    yield from _conflicts(text, group.parts)
    yield from _orders(group.parts)


def _cases(text: str, case: Group) -> Iterator[Edit]:
    """Yield edits that leave out a branch of a CASE, or that swap the one branch and the ELSE."""
    parts = case.parts
    whens = [place for place, part in enumerate(parts) if part.word == "WHEN"]
    ends = [place for place, part in enumerate(parts) if part.word in {"WHEN", "ELSE", "END"}]
    last = next((place for place in ends if parts[place].word == "ELSE"), None)
    if len(whens) > 1:
        for when in whens:
            end = next(place for place in ends if place > when)
            new = text[case.span.start : parts[when].span.start] + text[parts[end].span.start : case.span.end]
            yield Edit(case.span, new, "SQL: branch dropped", expression=True)
    elif last is not None:
        then = next(place for place, part in enumerate(parts) if part.word == "THEN")
        head = text[case.span.start : parts[then].span.end]
        yes = text[parts[then].span.end : parts[last].span.start].strip()
        no = text[parts[last].span.end : parts[-1].span.start].strip()
        yield Edit(case.span, f"{head} {no} ELSE {yes} END", "SQL: branches swapped", expression=True)


def _conflicts(text: str, parts: tuple[Part, ...]) -> Iterator[Edit]:
    """Yield edits that turn DO UPDATE into DO NOTHING, DO NOTHING into an overwrite, and both into a failure."""
    words = [part.word for part in parts]
    for place in range(len(parts) - 3):
        if words[place : place + 3] != ["ON", "CONFLICT", "DO"]:
            continue
        end = next((after for after in range(place + 3, len(parts)) if words[after] == "RETURNING"), len(parts))
        clause = Span(parts[place].span.start, parts[end - 1].span.end)
        yield Edit(clause, "", "SQL: ON CONFLICT dropped")
        if words[place + 3] != "NOTHING":
            yield Edit(clause, "ON CONFLICT DO NOTHING", "SQL: ON CONFLICT changed")
        elif columns := _columns(parts):
            sets = ", ".join(f"{column} = excluded.{column}" for column in columns)
            yield Edit(clause, f"ON CONFLICT DO UPDATE SET {sets}", "SQL: ON CONFLICT changed")


def _columns(parts: tuple[Part, ...]) -> list[str]:
    """Return the columns that an INSERT fills."""
    for place in range(len(parts) - 2):
        listed = parts[place + 2]
        if parts[place].word == "INTO" and isinstance(listed, Group):
            return [part.text for part in listed.parts if isinstance(part, Token) and part.kind == "word"]
    return []


def _orders(parts: tuple[Part, ...]) -> Iterator[Edit]:
    words = [part.word for part in parts]
    for place in range(1, len(parts)):
        if words[place] == "LEFT":
            yield Edit(parts[place].span, "", "SQL: LEFT JOIN made a JOIN")
        if words[place - 1 : place + 1] != ["ORDER", "BY"]:
            continue
        end = place + 1
        while end < len(parts) and words[end] not in BOUNDARIES:
            end += 1
        if end < len(parts) and words[end] in {"ASC", "DESC"}:
            yield Edit(parts[end].span, "DESC" if words[end] == "ASC" else "ASC", "SQL: order reversed")
        elif end > place + 1:
            at = parts[end - 1].span.end
            yield Edit(Span(at, at), " DESC", "SQL: order reversed")
