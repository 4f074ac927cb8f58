"""The checker of values: what is wrong and where, equality as JSON has it, and work that is linear and bounded."""

from typing import Any
from unittest.mock import Mock

import pytest

from src.features.structured.schema import alone, check, equality, nodes
from src.features.structured.schema.check import Fault, faults_of
from src.features.structured.schema.equality import identity, scalar_key
from src.features.structured.schema.formats import FORMATS
from src.features.structured.schema.schema import accepted_schema, parse_schema
from tests.support.steps import counted

from .test_schema import closed


def faults(schema: dict[str, Any], value: object, most: int = 10) -> list[Fault]:
    document = {"type": "object", "properties": {"a": schema}}
    return [
        Fault(fault.pointer.removeprefix("/a"), fault.expected)
        for fault in faults_of(parse_schema(document, strict=False), {"a": value}, most)
    ]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, 1, "a string"),
        ({"type": ["integer", "null"]}, "x", "a whole number or null"),
        ({"type": "integer"}, 1.5, "a whole number"),
        ({"type": "integer"}, True, "a whole number"),
        ({"type": "number"}, False, "a number"),
        ({"type": "boolean"}, 0, "true or false"),
        ({"minimum": 3}, 2.5, "at least 3"),
        ({"maximum": 3}, 4, "at most 3"),
        ({"exclusiveMinimum": 3}, 3, "more than 3"),
        ({"exclusiveMaximum": 3}, 3.0, "less than 3"),
        ({"multipleOf": 0.01}, 0.015, "a multiple of 0.01"),
        ({"minLength": 2}, "𝒳", "a string of 2 characters or more"),
        ({"maxLength": 1}, "ab", "a string of 1 characters or fewer"),
        ({"format": "date"}, "2023-02-29", "a string of the format date"),
        ({"minItems": 1}, [], "an array of 1 items or more"),
        ({"maxItems": 1}, [1, 2], "an array of 1 items or fewer"),
        ({"const": "a"}, "b", '"a"'),
        ({"enum": ["a", None, 1]}, True, 'one of "a", null, 1'),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, 2, "at least 3"),
        (
            {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "number", "maximum": 1}]},
            2,
            "a value that one of the 2 schemas of `anyOf` allows (a number, a whole number)",
        ),
    ],
)
def test_a_fault_says_what_was_expected(schema: dict[str, Any], value: object, expected: str) -> None:
    assert faults(schema, value) == [Fault("", expected)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1.0),
        ({"type": "number"}, 10**300),
        ({"maxLength": 1}, "𝒳"),
        ({"minLength": 2}, 1),
        ({"minimum": 2}, "1"),
        ({"minItems": 2}, {}),
        ({"required": ["x"]}, []),
        ({"const": 1}, 1.0),
        ({"const": [{"a": 1.0, "b": 2}]}, [{"b": 2, "a": 1}]),
        ({"enum": [0, False]}, False),
        ({"multipleOf": 0.1}, 0.3),
        ({"multipleOf": 0.01}, 4.35),
        ({"multipleOf": 1e-7}, 0.3),
        ({"multipleOf": 3}, 3 * 10**300),
        ({"multipleOf": 0.5}, 1e300),
        ({"multipleOf": 1e-300}, 1e300),
        ({"multipleOf": 1e22}, 3e22),
        ({"multipleOf": 2.5}, -5),
        ({"multipleOf": 8}, 1.0000000000000008e18),
        ({}, {"anything": [1]}),
    ],
)
def test_what_a_keyword_does_not_mean_is_no_fault(schema: dict[str, Any], value: object) -> None:
    """A keyword applies only to values of its own type, so `minLength` says nothing about a number."""
    assert faults(schema, value) == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 1}, True),
        ({"const": True}, 1),
        ({"const": 0}, False),
        ({"const": [0]}, [False]),
        ({"const": {"a": 1}}, {"a": 1, "b": 2}),
        ({"const": []}, {}),
        ({"const": None}, False),
        ({"const": "1"}, 1),
        ({"enum": [[1], [2]]}, [[1]]),
        ({"multipleOf": 0.1}, 0.30000000000000004),
        ({"multipleOf": 0.01}, 1e-3),
        ({"multipleOf": 7}, 10**300),
        ({"multipleOf": 1e-7}, 1.5e-7),
        ({"multipleOf": 1e300}, 1e-300),
        ({"multipleOf": 12345678901234567890}, 12345678901234567891),
        ({"multipleOf": 8}, 1.0000000000000005e18),
    ],
)
def test_values_that_only_python_takes_for_equal_differ(schema: dict[str, Any], value: object) -> None:
    """true is not equal to 1, although Python says so, and a float counts as the decimal that JSON writes."""
    assert len(faults(schema, value)) == 1


def test_faults_have_their_places_those_near_the_root_first() -> None:
    person = closed(name={"type": "string", "minLength": 1}, kids={"type": "array", "items": {"$ref": "#/$defs/p"}})
    schema = parse_schema(closed(p={"$ref": "#/$defs/p"}) | {"$defs": {"p": person}}, strict=True)
    value = {"p": {"name": "", "kids": [{"name": "x", "kids": []}, {"name": 1, "a/~b": 0}]}, "q": 1}
    assert faults_of(schema, value) == [
        ("/q", "no property of this name"),
        ("/p/name", "a string of 1 characters or more"),
        ("/p/kids/1/kids", "a value: this property is required"),
        ("/p/kids/1/a~1~0b", "no property of this name"),
        ("/p/kids/1/name", "a string"),
    ]


def test_any_of_tells_the_faults_of_the_only_schema_that_is_possible() -> None:
    circle = closed(kind={"const": "circle"}, radius={"type": "number", "minimum": 0})
    square = closed(kind={"enum": ["square", "box"]}, side={"type": "number"})
    union = {"anyOf": [circle, square, {"type": "null"}]}
    assert faults(union, {"kind": "circle", "radius": -1}) == [("/radius", "at least 0")]
    assert faults(union, {"kind": "box"}) == [("/side", "a value: this property is required")]
    assert faults(union, {"kind": "triangle"}) == [("", 'an object whose "kind" is one that `anyOf` names')]
    assert faults(union, {"side": 1}) == [("", 'an object whose "kind" is one that `anyOf` names')]
    assert faults(union, {"kind": ["box"]}) == [("", 'an object whose "kind" is one that `anyOf` names')]
    assert faults(union, None) == []
    assert faults(union, 3) == [("", "a value that one of the 3 schemas of `anyOf` allows (an object, null)")]


def test_a_constant_that_two_schemas_share_decides_nothing() -> None:
    shared = [
        closed(kind={"enum": ["a", "b"]}, x={"type": "string"}),
        closed(kind={"enum": ["b", "c"]}, x={"type": "number", "minimum": 0}),
    ]
    optional = [closed(kind={"const": "a"}, x={}) | {"required": []}, closed(kind={"const": "b"}, x={"type": "string"})]
    for value in ({"kind": "b", "x": "text"}, {"kind": "b", "x": 1}):
        assert faults({"anyOf": shared}, value) == []
    assert len(faults({"anyOf": shared}, {"kind": "b", "x": -1})) == 1
    assert faults({"anyOf": optional}, {"x": 1}) == []


MODULES = (alone, check, equality, nodes)


def steps_of(document: dict[str, Any], value: object, *, is_valid: bool) -> int:
    schema = accepted_schema(document)
    with counted(*MODULES) as steps:
        found = faults_of(schema, value)
    assert (not found) == is_valid, found
    return steps.lines


TWINS = {
    "type": "object",
    "properties": {"t": {"$ref": "#/$defs/t"}},
    "$defs": {
        "t": {
            "anyOf": [
                closed(x={"type": "integer"}, left={"$ref": "#/$defs/t"}, right={"$ref": "#/$defs/t"}),
                closed(x={"type": "number"}, left={"$ref": "#/$defs/t"}, right={"$ref": "#/$defs/t"}),
                {"type": "null"},
            ]
        }
    },
}


def chain(length: int, leaf: object) -> object:
    value = leaf
    for _ in range(length):
        value = {"x": 1, "left": value, "right": None}
    return value


@pytest.mark.parametrize(("leaf", "is_valid"), [(None, True), ("wrong", False)])
def test_any_of_takes_linear_time(leaf: object, is_valid: bool) -> None:
    """Both schemas fit every node: without kept results each level would double the work."""
    short, long = (steps_of(TWINS, {"t": chain(size, leaf)}, is_valid=is_valid) for size in (200, 400))
    assert long < short * 2.1
    assert long < 400 * 300


def test_a_search_without_an_end_is_a_fault() -> None:
    """A value whose check exceeds the budget of steps counts as invalid, even if it is valid."""
    schema = parse_schema(TWINS, strict=False)
    assert not faults_of(schema, {"t": chain(50, None)})
    (fault,) = faults_of(schema, {"t": chain(5_000, None)}, effort=10_000)
    assert fault.pointer == "/t"
    assert "bounded search" in fault.expected


def test_an_optional_constant_tells_alternatives_apart() -> None:
    choices = [
        {"type": "object", "properties": {"kind": {"const": kind}, "n": {"type": type_}}}
        for kind, type_ in (("a", "string"), ("b", "integer"), ("c", "null"))
    ]
    schema = parse_schema(
        {"type": "object", "properties": {"v": {"type": "array", "items": {"anyOf": choices}}}}, strict=False
    )
    good = [{"kind": "a", "n": "x"}, {"kind": "b", "n": 1}, {"n": None}, {"n": 2}, {}, {"kind": "c"}]
    assert not faults_of(schema, {"v": good})
    assert not any(faults_of(schema, {"v": [one]}) for one in good)
    for bad in ({"kind": "a", "n": 1}, {"kind": "z"}, {"kind": 1}, {"n": True}):
        assert [fault.pointer[:4] for fault in faults_of(schema, {"v": [*good, bad]})] == ["/v/6"], bad


def test_many_schemas_of_any_of_are_bounded() -> None:
    options = [closed(a={"type": "array", "items": {"minimum": number}}) for number in range(200)]
    document = {"type": "object", "properties": {"l": {"type": "array", "items": {"anyOf": options}}}}
    value = {"l": [{"a": [-1, "x"]} for _ in range(2_000)]}
    assert steps_of(document, value, is_valid=False) < 4_000_000


@pytest.mark.parametrize(
    "items",
    [
        closed(name={"type": "string", "minLength": 1}, tags={"type": "array", "items": {"enum": ["x", "y"]}}),
        {"anyOf": [closed(name={"type": "string"}), closed(name={"type": "string"}, tags={"type": "array"})]},
        {"enum": [{"name": "n", "tags": ["x"] * size} for size in range(1, 9)]},
    ],
)
def test_a_check_is_linear(items: dict[str, Any]) -> None:
    document = {"type": "object", "properties": {"l": {"type": "array", "items": items}}}
    short, long = (
        steps_of(document, {"l": [{"name": "n", "tags": ["x"] * 4}] * size}, is_valid=True) for size in (500, 1_000)
    )
    assert long < short * 2.1
    assert long < 1_000 * 200


def test_nothing_recurses() -> None:
    schema = parse_schema(closed(a={"$ref": "#/$defs/l"}) | {"$defs": {"l": {"anyOf": [
        {"type": "array", "items": {"$ref": "#/$defs/l"}}, {"type": "array", "items": {"type": "null"}},
        {"enum": [[[]]]},
    ]}}}, strict=True)  # fmt: skip
    value: list[Any] = []
    for _ in range(5_000):
        value = [value]
    assert not faults_of(schema, {"a": value}, effort=10**7)


def test_equal_numbers_have_one_key_and_large_ones_have_hashes_of_their_own() -> None:
    assert scalar_key(1) == scalar_key(1.0) != scalar_key(True)
    assert scalar_key(10**20) == scalar_key(1e20) != scalar_key(str(10**20))
    assert scalar_key(-(2**31)) == scalar_key(-2147483648.0)
    assert scalar_key(2.0**31 + 0.5) != scalar_key(2**31)
    for prime in (2**31 - 1, 2**61 - 1):
        numbers = [number * prime for number in range(1_000)]
        assert len({hash(scalar_key(number)) for number in numbers}) > 990
        assert len({identity(number) for number in numbers}) == 1_000
    assert identity(10**20) == identity(1e20) != identity(str(10**20))
    assert identity(True) != identity(1) == identity(1.0) != identity("1")
    assert identity("[1]") != identity([1]) == identity([1.0])


def test_faults_are_few_and_short() -> None:
    schema = {"type": "array", "items": closed(a={"type": "string"})}
    assert len(faults(schema, [{"b": 1}] * 1_000)) == 10
    assert len(faults(schema, [1] * 1_000, most=3)) == 3
    assert len(faults(closed(), {str(number): 1 for number in range(1_000)})) == 10
    (fault,) = faults(closed(), {"x" * 100_000 + "\ud800": 1})
    assert len(fault.pointer) <= 500
    assert fault.pointer.endswith("…")
    (fault,) = faults({"enum": ["y" * 1_000]}, "z")
    assert len(fault.expected) == 200


GOOD = {
    "date-time": "2024-02-29T23:59:59Z 2024-01-01t00:00:00.5z 0001-01-01T00:00:00+23:59 2024-12-31T00:00:00-00:00",
    "date": "2000-02-29 2024-12-31 9999-01-01",
    "time": "00:00:00Z 23:59:59.123456789+01:30 12:00:00-12:00",
    "duration": "P1Y P2M P3D PT4H PT5M PT6S P1Y2M3DT4H5M6S P10W P0D P1Y3D PT1H5S PT1.5S",
    "email": "a@b.example a.b+c_d@x-y.example 名@example.org a@[127.0.0.1] a@[IPv6:::1]",
    "hostname": "example EXAMPLE.org 1.2.3.4 xn--nxasmq6b",
    "ipv4": "10.0.0.0 255.255.255.255 1.20.100.9",
    "ipv6": ":: ::1 1:: 1:2:3:4:5:6:7:8 1::8 1:2:3:4:5:6:7:: ::1.2.3.4 1:2:3:4:5:6:1.2.3.4 ABCD::abcd",
    "uuid": "00000000-0000-0000-0000-000000000000 FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF",
}
MORE_GOOD = {"email": ['"a b"@example.org'], "hostname": ["a" * 63, ".".join(["a" * 62] * 4) + ".b"]}
BAD = {
    "date-time": "2024-02-29 2024-02-29T12:00:00 2023-02-29T12:00:00Z",
    "date": "1900-02-29 2024-00-01 2024-13-01 2024-04-31 2024-01-00 0000-01-01 2024-1-01 ٢٠٢٤-01-01",
    "time": "24:00:00Z 00:60:00Z 00:00:60Z 00:00:00 00:00Z 00:00:00.Z 00:00:00+24:00 00:00:00+00:60",
    "duration": "P PT P1 P1DT 1D P1D1Y PT1D P1W1D P1.5D -P1D P1S PT1.S P1d",
    "email": 'a @b a@ a@b@c .a@b a.@b a..b@c a@-b a@b. a@[1.2.3] a"@b',
    "hostname": ". a. .a a..b -a a- a_b 名.jp",
    "ipv4": "1.2.3 1.2.3.4.5 256.1.1.1 01.2.3.4 1.2.3. ١.2.3.4 1.2.3.1000",
    "ipv6": ": ::: 1 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1::2::3 12345:: :1:: g:: ::1.2.3 1.2.3.4:: ::1%eth0 "
    "1:2:3:4:5:6:7:1.2.3.4 1:2:3:4:5:6:7:8::",
    "uuid": "00000000-0000-0000-0000-00000000000 00000000-0000-0000-0000-00000000000g "
    "{00000000-0000-0000-0000-000000000000}",
}
MORE_BAD = {
    "date-time": ["2024-02-29 12:00:00Z", "2024-02-29T12:00:00Z\n"],
    "email": ["a b@c", "a" * 65 + "@b"],
    "hostname": ["a b", "a" * 64, ".".join(["a" * 62] * 4) + ".bb"],
    "ipv4": ["1.2.3.4 "],
    "uuid": ["0" * 36, "00000000-0000-0000-0000-000000000000\n"],
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_takes_what_its_standard_takes(name: str) -> None:
    good, bad = [*GOOD[name].split(), *MORE_GOOD.get(name, ())], ["", *BAD[name].split(), *MORE_BAD.get(name, ())]
    assert [text for text in good if not FORMATS[name](text)] == []
    assert [text for text in bad if FORMATS[name](text)] == []


def test_a_value_longer_than_each_of_an_enum_is_not_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place in the answer may be compared with hundreds of enums, each time at the price of its characters."""
    schema = parse_schema({"type": "object", "properties": {"a": {"enum": [["x"], {"é": 1}]}}}, strict=False)
    monkeypatch.setattr(equality, "_canonical", lambda value: pytest.fail(f"{value!r:.50} was written out"))
    for value in (["x" * 9], {"x" * 9: 1}, ["x", "x"]):
        assert faults_of(schema, {"a": value})


def test_the_kinds_of_an_enum_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds_of = Mock(wraps=nodes._kinds_of)
    monkeypatch.setattr(nodes, "_kinds_of", kinds_of)
    choices = {"anyOf": [{"$ref": "#/$defs/a"}] * 500}
    many = {"a": {"type": "integer", "enum": list(range(900))}}
    parse_schema({"type": "object", "properties": {"a": choices}, "$defs": many}, strict=False)
    assert kinds_of.call_count < 5
