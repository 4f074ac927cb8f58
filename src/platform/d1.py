"""Implements D1's binding for the store. D1's answer passes from JavaScript to Python as one text."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .crossing import Crossing

if TYPE_CHECKING:
    import js

type Value = str | int | float | None


class BoundD1:
    """The binding `DB` of the D1 database, used without the SDK's wrapper."""

    def __init__(self, binding: "js.D1Database") -> None:
        self._binding = binding
        self._crossing = Crossing()

    def prepare(self, sql: str) -> "BindingStatement":
        """Prepare one statement."""
        return BindingStatement(sql)

    async def batch(self, statements: "list[BindingStatement]") -> list[Mapping[str, object]]:
        """Run statements as one transaction. Errors of D1 are raised as JsException."""
        from pyodide.ffi import to_js

        prepare = self._binding.prepare
        answer = await self._binding.batch(to_js([statement.made(prepare) for statement in statements]))
        found: list[Mapping[str, object]] = self._crossing.from_javascript(answer)
        return found


class BindingStatement:
    """An SQL statement with its parameters, which are passed to JavaScript only when the statement is sent."""

    __slots__ = ("_sql", "_values")

    def __init__(self, sql: str, values: tuple[Value, ...] = ()) -> None:
        self._sql = sql
        self._values = values

    def bind(self, *values: Value) -> "BindingStatement":
        """Return the statement with its parameters set. None stands for NULL."""
        return BindingStatement(self._sql, values)

    def made(self, prepare: "Callable[[str], js.D1PreparedStatement]") -> "js.D1PreparedStatement":
        """Make the prepared statement of D1 in JavaScript."""
        from pyodide.ffi import jsnull

        prepared = prepare(self._sql)
        if not self._values:
            return prepared
        return prepared.bind(*[jsnull if value is None else value for value in self._values])
