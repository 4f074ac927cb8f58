"""D1's binding between JavaScript and Python: which values cross over, and how often. JavaScript is a fake."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from src.platform.bindings import bindings
from src.platform.crossing import from_javascript, into_javascript
from tests.support.javascript import stand_in

NULL = object()  # JavaScript's
HOSTILE = '"</script>\\ \u0000 \ud800 漢字 \u2028'


class JsDatabase:
    """A D1Database of JavaScript. `crossings` counts Python's accesses."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.crossings = 0
        self.asked: list[tuple[str, tuple[object, ...]]] = []

    def prepare(self, sql: str) -> SimpleNamespace:
        self.crossings += 1
        made = SimpleNamespace(sql=sql, values=())
        made.bind = lambda *values: self._bound(sql, values)
        return made

    def _bound(self, sql: str, values: tuple[object, ...]) -> SimpleNamespace:
        self.crossings += 1
        return SimpleNamespace(sql=sql, values=values)

    async def batch(self, statements: list[SimpleNamespace]) -> Any:
        self.crossings += 1
        self.asked = [(statement.sql, statement.values) for statement in statements]
        return [{"results": self.rows, "meta": {"rows_read": 1}} for _ in statements]


@pytest.fixture(autouse=True)
def javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    json_of_js = SimpleNamespace(stringify=json.dumps, parse=json.loads)
    stand_in(monkeypatch, {"JSON": json_of_js}, {"to_js": lambda value: value, "jsnull": NULL})


def database(js: JsDatabase) -> Any:
    env: Any = SimpleNamespace(_env=SimpleNamespace(DB=js))
    return bindings(env).database


def test_a_call_crosses_over_twice_a_statement_and_once_whatever_comes_back():
    js = JsDatabase([{"id": HOSTILE, "none": None, "number": 2**53 - 1, "half": 0.5}] * 100)
    d1 = database(js)
    statements = [d1.prepare("SELECT ?1, ?2").bind(HOSTILE, None), d1.prepare("SELECT 1")]
    assert js.crossings == 0
    answer = asyncio.run(d1.batch(statements))
    assert js.asked == [("SELECT ?1, ?2", (HOSTILE, NULL)), ("SELECT 1", ())]
    assert answer == [{"results": js.rows, "meta": {"rows_read": 1}}] * 2
    assert js.crossings == 4


@pytest.mark.parametrize("value", [None, True, HOSTILE, 2**53 - 1, 0.1, [], {"a": [{"b": None}]}])
def test_a_value_crosses_over_and_back(value: object):
    assert from_javascript(into_javascript(value)) == value
