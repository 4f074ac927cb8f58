"""Compiles SQL statements with named parameters, at import, into statements with numbered ones, as D1 takes them.

The package `store.sql` contains all SQL of the Worker's tables, one module for each subject. Each statement is a
constant, and the comment above it is its contract.

Some rules apply to all statements. Values enter an SQL statement only through parameters. A parameter whose name ends
in `_ms` is a number of milliseconds, and `:task_keys` is a JSON list. The contract of a statement says which of its
parameters may be NULL. Each write is safe to send twice and safe to arrive late, because after an error it is unknown
whether the write took effect (see "Read query retries" in the D1 documentation). A task's key, which begins with its
tenant (`core.ids`), names the task in a statement. The column for a task's key is called `id` in the tables `tasks`,
`object_places` and `tombstones`, and `task_id` in other tables.
"""

import json
import re
from dataclasses import dataclass

type Value = str | int | float | None

# _TOKENS matches quoted texts, quoted names and comments first, because a colon or question mark inside them is no
# parameter.
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
    """An SQL statement with its values.

    In `sql`, `?1` is the place of the first of `values`, and so on. None is NULL.
    """

    sql: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement, once as `text` with named parameters and once as `sql` with numbered parameters.

    `parameters` are the names, and `names` is the set of them, which each binding is compared with.
    """

    text: str
    sql: str
    parameters: tuple[str, ...]
    names: frozenset[str]

    def bind(self, **values: Value) -> BoundStatement:
        """Return the statement with values for all of its parameters.

        A missing or unknown parameter of an SQL statement is an error.
        """
        if values.keys() != self.names:
            missing, unknown = sorted(self.names - values.keys()), sorted(values.keys() - self.names)
            raise AssertionError(f"missing parameters {missing}, unknown ones {unknown}: {self.text[:60]!r}")
        return BoundStatement(self.sql, tuple([values[name] for name in self.parameters]))


def statement(text: str) -> Statement:
    """Compile an SQL statement whose parameters have names.

    A parameter is written as a colon and a name, like `:task_key`. A parameter that occurs twice in a statement has one
    number.

    Text within quotes or comments is never a parameter, nor is a double colon. Parameters of any form other than
    `:name` are refused.
    """
    numbers: dict[str, int] = {}

    def numbered(token: re.Match[str]) -> str:
        assert not token["nameless"], f"a parameter without a name: {text[token.start() :][:40]!r}"
        name = token["name"]
        return f"?{numbers.setdefault(name, len(numbers) + 1)}" if name else token[0]

    return Statement(text, _TOKENS.sub(numbered, text).strip(), tuple(numbers), frozenset(numbers))


def as_json(value: object) -> str:
    """Write a list or a dict as JSON, to pass it as one parameter of an SQL statement."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
