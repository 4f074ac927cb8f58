"""Statements of SQL with named parameters, compiled at import to the numbered ones that D1 takes.

This package contains all SQL of the Worker's tables, one module for each subject. A statement is a constant, and the
comment above it is its contract. These rules apply to all statements: - Values enter only through parameters. A name
that ends in `_ms` is a number of milliseconds, and `task_keys` is a JSON
  list. The contract says which parameters may be NULL.
- Each write is safe to send again and safe to arrive late, because after an error it is unknown whether it landed (see
  "Read query retries" in the D1 documentation).
- A task's key, which begins with its tenant (`core.ids`), names the task. The column is `id` in `tasks` and `task_id`
  elsewhere.
"""

import json
import re
from dataclasses import dataclass

type Value = str | int | float | None

# The pattern matches texts, names and comments first: a colon or question mark in them is no parameter.
_TOKENS = re.compile(
    r"""
      '(?: [^'] | '' )*'
    | "(?: [^"] | "" )*"
    | --[^\n]*
    | /\*.*?(?: \*/ | \Z )
    | ::
    | :(?P<name>[a-z][a-z0-9_]*)
    | (?P<nameless>[?@$:])
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class BoundStatement:
    """A statement as D1 takes it: `?1` in `sql` is the first of `values`, and so on. None binds as NULL."""

    sql: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement: `text` as written, `sql` with numbers, and the parameters' names in their order."""

    text: str
    sql: str
    parameters: tuple[str, ...]

    def bind(self, **values: Value) -> BoundStatement:
        """Set all parameters, and no others."""
        if values.keys() != set(self.parameters):
            missing = sorted(set(self.parameters) - values.keys())
            unknown = sorted(values.keys() - set(self.parameters))
            raise AssertionError(f"missing parameters {missing}, unknown ones {unknown}: {self.text[:60]!r}")
        return BoundStatement(self.sql, tuple([values[name] for name in self.parameters]))


def statement(text: str) -> Statement:
    """Compile a statement.

    A parameter is a colon and a name, `:task_key`. A parameter that is used twice keeps its number.

    Quoted text, comments and double colons are not parameters. Parameters of any other form are refused.
    """
    numbers: dict[str, int] = {}

    def numbered(token: re.Match[str]) -> str:
        assert not token["nameless"], f"a parameter without a name: {text[token.start() :][:40]!r}"
        name = token["name"]
        return f"?{numbers.setdefault(name, len(numbers) + 1)}" if name else token[0]

    return Statement(text, _TOKENS.sub(numbered, text).strip(), tuple(numbers))


def as_json(value: object) -> str:
    """Write a list or a dict as the text of one parameter."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
