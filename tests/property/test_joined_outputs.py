"""If a join plan accepts a schema with its rules, joining valid outputs gives a value that the schema allows."""

import json
import random
from typing import Any

from src.features.structured.joining import Joiner, joiner_for
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.keywords import SchemaRefused
from src.features.structured.schema.pointers import escaped
from src.features.structured.schema.schema import parse_schema
from src.kernel.domain.errors import NotJoinable
from tests.support.schema_draws import SchemaDraws
from tests.support.tiers import sized

SCHEMAS = sized(quick=150, test=500, campaign=20_000)
OUTPUTS = 4  # the most outputs that are drawn for each schema
RULES = ("first", "last", "sum", "min", "max", "any", "all", "union")
NUMBERS, BOOLEANS = ("sum", "min", "max", "first"), ("any", "all", "last")


class JoinableDraws(SchemaDraws):
    """Draws schemas with join rules, whose outputs can be joined; properties may be optional or null."""

    def joinable(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Draw a schema and the join rules for its fields."""
        self._refs = ["#/$defs/A"]
        self.rules: dict[str, str] = {}
        schema = self._fields("", 2)
        schema["$defs"] = {"A": self._object(1)}
        return schema, self.rules

    def _fields(self, pointer: str, deeper: int) -> dict[str, Any]:
        names = self.random.sample(("a", "b", "x/y", "til~de", "名", "z"), self.random.randrange(1, 5))
        properties = {name: self._nullable(self._field(f"{pointer}/{escaped(name)}", deeper)) for name in names}
        required = [name for name in names if self.random.random() < 0.6]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _field(self, pointer: str, deeper: int) -> dict[str, Any]:
        kind = self.random.randrange(5 if deeper else 4)
        if kind == 0:
            if self.random.random() < 0.4:
                self.rules[pointer] = "union"
            return {"type": "array", "items": self._any(1), "minItems": self.random.randrange(2)}
        if kind == 1:
            self.rules[pointer] = self.random.choice(NUMBERS)
            return {"type": self.random.choice(("number", "integer"))}
        if kind == 2:
            self.rules[pointer] = self.random.choice(BOOLEANS)
            return {"type": "boolean"}
        if kind == 3:
            self.rules[pointer] = self.random.choice(("first", "last"))
            return self._any(1)
        return self._fields(pointer, deeper - 1)

    def _nullable(self, schema: dict[str, Any]) -> dict[str, Any]:
        drawn = self.random.random()
        if drawn < 0.15:
            return {"anyOf": [schema, {"type": "null"}]}
        if drawn < 0.3 and isinstance(schema.get("type"), str) and schema["type"] != "null":
            return {**schema, "type": [schema["type"], "null"]}
        return schema


def read_again(joiner: Joiner, values: list[dict[str, Any]], parts: int) -> dict[str, Any]:
    for _ in range(joiner.let_go(parts)):
        for value in values:
            joiner.add(value)
        joiner.again()
    written = b""
    for piece in joiner.written():
        arrays = [] if isinstance(piece, bytes) else [piece.piece(at, value) for at, value in enumerate(values)]
        written += piece if isinstance(piece, bytes) else b",".join(filter(None, arrays))
    result: dict[str, Any] = json.loads(written)
    return result


def valid_values(draws: SchemaDraws, schema: dict[str, Any], most: int) -> list[dict[str, Any]]:
    parsed = parse_schema(schema, strict=False)
    drawn = (draws.value(schema, schema) for _ in range(40))
    return [value for value in drawn if not faults_of(parsed, value)][:most]


def test_joined_outputs_are_valid() -> None:
    start = random.randrange(10**9)
    joined = 0
    for seed in range(start, start + SCHEMAS):
        draws = JoinableDraws(seed)
        schema, rules = draws.joinable()
        parsed = parse_schema(schema, strict=False)
        joiner = joiner_for(parsed, rules)
        values = valid_values(draws, schema, draws.random.randrange(1, OUTPUTS + 1))
        for value in values:
            joiner.add(value)
        if values:
            result = joiner.result()
            faults = faults_of(parsed, result)
            assert not faults, f"seed {seed}: {schema} {rules} {values} {result} {faults}"
            again = read_again(joiner_for(parsed, rules), values, draws.random.randrange(1, 4))
            assert json.dumps(again) == json.dumps(result), f"seed {seed}: {schema} {rules} {values}"
            joined += 1
    assert joined > SCHEMAS / 3


def test_what_any_plan_accepts_is_valid() -> None:
    start = random.randrange(10**9)
    joined = refused = 0
    for seed in range(start, start + SCHEMAS):
        draws = SchemaDraws(seed)
        schema = {**draws.schema(), "additionalProperties": False}
        named = {f"/{escaped(name)}": draws.random.choice((*RULES, None)) for name in schema["properties"]}
        rules = {pointer: rule for pointer, rule in named.items() if rule is not None}
        try:
            parsed = parse_schema(schema, strict=False)
            joiner = joiner_for(parsed, rules)
        except (SchemaRefused, NotJoinable):
            refused += 1
            continue
        values = valid_values(draws, schema, OUTPUTS)
        for value in values:
            joiner.add(value)
        if values:
            result = joiner.result()
            faults = faults_of(parsed, result)
            assert not faults, f"seed {seed}: {schema} {rules} {values} {result} {faults}"
            joined += 1
    assert joined > SCHEMAS / 10
    assert refused > SCHEMAS / 10
