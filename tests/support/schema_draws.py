"""Draws from a seed: schemas of the supported subset, values that mostly fit a schema, and mutations of values."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

NAMES = ("a", "b", "c", "name", "x/y", "til~de", "名")
WORDS = ("", "a", "ab", "abc", "aé", "𝒳", "名前", "a" * 12)
NUMBERS = (
    *(-1, 0, 1, 2, 3, 7, 10, 0.1, 0.3, 0.5, 1.0, 1.5, -2.5, 2.0, 1e3, 1e-3, 1e22),
    *(12345678901234567890, 0.30000000000000004),
)
DIVISORS = (1, 2, 3, 8, 64, 625, 0.1, 0.5, 0.25, 0.01, 1.0, 10, 1e-3)
# For each string format: strings that have the format, and strings that nearly have it.
FORMATTED: dict[str, tuple[str, ...]] = {
    "date-time": (
        *("2024-02-29T12:30:00Z", "2023-02-29T12:30:00Z", "2024-01-01T00:00:00.123+01:00", "2024-01-01 00:00:00Z"),
        *("2024-02-29t12:30:00z", "2024-12-31T23:59:60Z", "0000-01-01T00:00:00Z"),
    ),
    "date": ("2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "2024-13-01", "24-01-01", "0000-01-01"),
    "time": ("12:30:00Z", "12:30:00+23:59", "24:00:00Z", "12:30:00", "12:30Z", "12:30:00.5z", "23:59:60Z"),
    "duration": ("P1D", "PT5M", "P3Y6M4DT12H30M5S", "P2W", "P1Y2D", "PT1.5S", "P", "PT", "P1", "1D", "P1DT", "P1D2M"),
    "email": ("a@example.org", "no", "a.b+c@example.org", "é@x.org", '"a b"@c.d', "a@[1.2.3.4]"),
    "hostname": ("example.org", "a-b.example", "-a.example", "a..b", "localhost", "a" * 63 + ".b", "a" * 64 + ".b"),
    "ipv4": ("127.0.0.1", "256.0.0.1", "1.2.3", "01.2.3.4", "1.2.3.4.5"),
    "ipv6": (
        *("::1", "::", "1::", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8", "1::2::3", "::ffff:1.2.3.4", "12345::"),
        *("1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1:::2"),
    ),
    "uuid": ("123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-42661417400G", "123e4567e89b12d3a456"),
}


class SchemaDraws:
    """Draws from one seed. A schema has up to three definitions, which may refer to each other and to the root."""

    def __init__(self, seed: object) -> None:
        self.random = random.Random(str(seed))

    def schema(self) -> dict[str, Any]:
        """Draw a schema, which the Worker may refuse for a cycle without progress."""
        definitions = self.random.sample(("A", "B", "C"), self.random.randrange(4))
        self._refs = ["#", *(f"#/$defs/{name}" for name in definitions)]
        root = self._object(3)
        if definitions:
            root["$defs"] = {name: self._any(2) for name in definitions}
        return root

    def _any(self, deeper: int) -> dict[str, Any]:
        draws: list[Callable[[int], dict[str, Any]]] = [self._string, self._number, self._simple, self._enum]
        if deeper > 0:
            draws += [self._object, self._object, self._array, self._any_of, self._any_of]
        if self.random.random() < 0.15:
            return {"$ref": self.random.choice(self._refs)}
        return self.random.choice(draws)(deeper)

    def _object(self, deeper: int) -> dict[str, Any]:
        names = self.random.sample(NAMES, self.random.randrange(4))
        drawn: dict[str, Any] = {"type": "object", "properties": {name: self._any(deeper - 1) for name in names}}
        if self.random.random() < 0.7:
            drawn["required"] = [name for name in names if self.random.random() < 0.7]
        if self.random.random() < 0.6:
            drawn["additionalProperties"] = False
        return drawn

    def _array(self, deeper: int) -> dict[str, Any]:
        drawn: dict[str, Any] = {"type": "array"}
        if self.random.random() < 0.9:
            drawn["items"] = self._any(deeper - 1)
        if self.random.random() < 0.3:
            drawn["minItems"] = self.random.choice((0, 1, 2, 1.0))
        if self.random.random() < 0.3:
            drawn["maxItems"] = self.random.randrange(4)
        return drawn

    def _any_of(self, deeper: int) -> dict[str, Any]:
        drawn: dict[str, Any] = {"anyOf": [self._any(deeper - 1) for _ in range(self.random.randrange(1, 4))]}
        if self.random.random() < 0.2:
            drawn |= self._any(deeper - 1)
            drawn.pop("$ref", None)
        return drawn

    def _string(self, _deeper: int) -> dict[str, Any]:
        drawn: dict[str, Any] = {"type": self.random.choice(("string", ["string", "null"]))}
        if self.random.random() < 0.3:
            drawn["format"] = self.random.choice(list(FORMATTED))
        if self.random.random() < 0.3:
            drawn["minLength"] = self.random.randrange(4)
        if self.random.random() < 0.3:
            drawn["maxLength"] = self.random.randrange(6)
        return drawn

    def _number(self, _deeper: int) -> dict[str, Any]:
        drawn: dict[str, Any] = {"type": self.random.choice(("number", "integer", ["integer", "string"]))}
        for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if self.random.random() < 0.15:
                drawn[keyword] = self.random.choice(NUMBERS)
        if self.random.random() < 0.3:
            drawn["multipleOf"] = self.random.choice(DIVISORS)
        return drawn

    def _simple(self, _deeper: int) -> dict[str, Any]:
        types = ("boolean", "null", ["boolean", "null"], ["number", "array"], ["object", "integer", "null"])
        drawn: dict[str, Any] = self.random.choice(({"type": self.random.choice(types)}, {}, {"maxLength": 2}))
        return dict(drawn)

    def _enum(self, _deeper: int) -> dict[str, Any]:
        if self.random.random() < 0.4:
            return {"const": self.loose(1)}
        return {"enum": [self.loose(1) for _ in range(self.random.randrange(1, 5))]}

    def loose(self, deeper: int) -> Any:
        kind = self.random.randrange(7 if deeper > 0 else 5)
        if kind == 0:
            return self.random.choice((True, False, None))
        if kind in {1, 2}:
            return self.random.choice(NUMBERS)
        if kind == 3:
            return self.random.choice(WORDS)
        if kind == 4:
            return self.random.choice(FORMATTED[self.random.choice(list(FORMATTED))])
        if kind == 5:
            return [self.loose(deeper - 1) for _ in range(self.random.randrange(3))]
        return {name: self.loose(deeper - 1) for name in self.random.sample(NAMES, self.random.randrange(3))}

    def value(self, schema: dict[str, Any], root: dict[str, Any], deeper: int = 6) -> Any:
        if deeper < -6:
            return self.loose(0)  # A recursive schema may allow only values that never end.
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            return self.value(root if name == "#" else root["$defs"][name], root, deeper - 1)
        if "anyOf" in schema:
            return self.value(self.random.choice(schema["anyOf"]), root, deeper - 1)
        if "enum" in schema:
            return copy.deepcopy(self.random.choice(schema["enum"]))
        if "const" in schema:
            return copy.deepcopy(schema["const"])
        types = schema.get("type")
        kind = self.random.choice(types) if isinstance(types, list) else types
        return self._of_kind(kind, schema, root, deeper)

    def _of_kind(self, kind: str | None, schema: dict[str, Any], root: dict[str, Any], deeper: int) -> Any:
        if kind == "object":
            required = schema.get("required", ())
            names = [
                name
                for name in schema.get("properties", ())
                if deeper > -2 and (name in required or (deeper > 0 and self.random.random() < 0.6))
            ]
            self.random.shuffle(names)
            return {name: self.value(schema["properties"][name], root, deeper - 1) for name in names}
        if kind == "array":
            least = int(schema.get("minItems", 0))
            count = max(least, self.random.randrange(4) if deeper > 0 else 0)
            return [self.value(schema.get("items", {}), root, deeper - 1) for _ in range(count)]
        if kind == "string":
            return self.random.choice(FORMATTED[schema["format"]] if "format" in schema else WORDS)
        if kind in {"number", "integer"}:
            near = [
                schema[keyword] + step
                for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
                if keyword in schema
                for step in (0, 1, -1)
            ]
            return self.random.choice([*near, *NUMBERS])
        return {"boolean": self.random.random() < 0.5, "null": None}.get(str(kind), self.loose(2))

    def mutation(self, value: Any) -> Any:
        changed = [copy.deepcopy(value)]
        holder, key = self.random.choice(list(_places(changed)))
        one = holder[key]
        if isinstance(one, dict) and self.random.random() < 0.6:
            if one and self.random.random() < 0.5:
                del one[self.random.choice(list(one))]
            else:
                one[self.random.choice(NAMES)] = self.loose(1)
        elif isinstance(one, list) and self.random.random() < 0.6:
            if one and self.random.random() < 0.5:
                del one[self.random.randrange(len(one))]
            else:
                one.insert(self.random.randrange(len(one) + 1), self.loose(1))
        elif isinstance(one, str) and one and self.random.random() < 0.6:
            at = self.random.randrange(len(one))
            holder[key] = one[:at] + self.random.choice(("", "0", "9", ":", "-", ".", "Z", "a", "é")) + one[at + 1 :]
        else:
            holder[key] = self.loose(2)
        return changed[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield value, key
        yield from _places(member)
