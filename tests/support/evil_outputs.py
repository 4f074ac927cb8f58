"""Makes hostile outputs of a model, each with the schema that takes the longest to check it."""

from collections.abc import Callable, Iterator
from itertools import count, cycle, product
from string import ascii_lowercase, digits
from typing import Any

CHARS = 100_000
NODES, LEVELS, ALIKE = 200, 60, 4
LETTERS = ascii_lowercase + digits


def listed(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"l": {"type": "array", "items": items}}} | more


def filled(texts: Iterator[str]) -> str:
    items, left = list[str](), CHARS - len('{"l":[]}')
    for text in texts:
        left -= len(text) + 1
        if left < 0:
            break
        items.append(text)
    return f'{{"l":[{",".join(items)}]}}'


def alike(make: Callable[[int], Any]) -> dict[str, Any]:
    return {"anyOf": [make(number) for number in range(ALIKE)]}


def within(number: int) -> dict[str, Any]:
    return {"minimum": number, "maximum": number}


def nested(levels: int, text: str = "[]") -> str:
    return "[" * levels + text + "]" * levels


def far_multiples() -> Iterator[str]:
    """Yield different multiples of 3e-300, hundreds of decimal places away from it."""
    return (f"{digit * 3}e{power}" for power in range(299, 0, -1) for digit in range(4, 334))


def evil_outputs() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "multiples of 3e-300, all different", listed({"multipleOf": 3e-300}), filled(far_multiples())
    near = (f"{digit * 3}e-{power}" for power in range(9, 3, -1) for digit in range(400, 3_333))
    yield "multiples of 3e-22, all different", listed({"multipleOf": 3e-22}), filled(near)
    primes = ({"multipleOf": number * 1e-300} for number in (7, 11, 13, 3))
    yield "4 divisors in turn", listed({"anyOf": list(primes)}), filled(far_multiples())
    yield from _alike_ones()
    yield from _recursive_ones()
    tiny = cycle(('{"l":[1]}', '{"l":["x"]}'))
    twins = [
        {"type": "object", "properties": {"l": {"items": items}}} for items in ({"type": "number"}, {"minLength": 1})
    ]
    yield "2 alternatives that nothing tells apart, with tiny objects", listed({"anyOf": twins}), filled(tiny)
    kinds = [
        {"type": "object", "required": ["a"]},
        *({"type": "array", "minItems": 1}, {"type": "string", "minLength": 1}, {"type": "number", "minimum": 0}),
        *({"type": "null"}, {"type": "boolean"}),
    ]
    mixed = cycle(("1", '"x"', "[1]", '{"a":1}', "1.5", "true", "null"))
    yield "an alternative for each type", listed({"anyOf": kinds}), filled(mixed)
    constants = {"anyOf": [{"const": [number]} for number in range(490)]}
    yield "490 constants, values that are none", listed(constants), filled(f"[{number}]" for number in count(1_000))
    deep = {"enum": [[[[number]]] for number in range(900)]}
    yield "an enum of arrays in arrays", listed(deep), filled(f"[[[{number % 900}]]]" for number in count())
    addresses = ("::".join(pair) for pair in product(map("".join, product("abcdef", repeat=2)), repeat=2))
    formats = {"anyOf": [{"format": name} for name in ("email", "date", "ipv4", "ipv6")]}
    yield "4 formats in turn", listed(formats), filled(f'"{address}"' for address in cycle(addresses))


def _alike_ones() -> Iterator[tuple[str, dict[str, Any], str]]:
    name = f"{ALIKE} alternatives that nothing tells apart"
    objects = alike(
        lambda n: {"type": "object", "properties": {"a": {"items": {"minimum": n}}, "b": {"maximum": n + 1}}}
    )
    values = (f'{{"a":[{number % ALIKE},"x"],"b":{number % ALIKE}}}' for number in count())
    yield f"{name}, in turn", listed(objects), filled(values)
    arrays = alike(lambda n: {"type": "array", "items": within(n)})
    yield f"{name}, with arrays of one number", listed(arrays), filled(f"[{number % ALIKE}]" for number in count())
    inner = alike(lambda n: {"type": "array", "items": {"anyOf": [within(n), {"type": "string"}]}})
    long = (f"[{','.join([str(number % ALIKE)] * 30)}]" for number in count())
    yield f"{name}, within each other", listed(inner), filled(long)


def _recursive_ones() -> Iterator[tuple[str, dict[str, Any], str]]:
    def ring(make: Callable[[Any], Any]) -> dict[str, Any]:
        definitions = {f"a{number}": make({"$ref": f"#/$defs/a{(number + 1) % NODES}"}) for number in range(NODES)}
        properties = {f"p{number}": {"$ref": f"#/$defs/a{number}"} for number in range(NODES)}
        return {"type": "object", "properties": properties, "$defs": definitions}

    def of_all(value: str) -> str:
        return "{" + ",".join(f'"p{number}":{value}' for number in range(NODES)) + "}"

    objects = ring(lambda next_one: {"type": "object", "properties": {"a": next_one, "b": {"type": "integer"}}})
    yield f"{NODES} definitions of each other, objects", objects, of_all('{"a":' * LEVELS + "{}" + "}" * LEVELS)
    arrays = ring(lambda next_one: {"items": next_one, "maxItems": 9})
    yield f"{NODES} definitions of each other, arrays", arrays, of_all(f"[{','.join([nested(LEVELS)] * 4)}]")
    twice = ring(lambda next_one: {"anyOf": [{"items": next_one, "maxItems": 9}, {"items": next_one, "maxItems": 8}]})
    yield f"{NODES} definitions with two alternatives", twice, of_all(f"[{','.join([nested(LEVELS)] * 4)}]")
    tagged = [
        {"type": "object", "properties": {"k": {"const": one}, "n": {"$ref": "#/$defs/N"}}, "required": ["k"]}
        for one in LETTERS
    ]
    chains = (
        "".join(f'{{"k":"{LETTERS[step * number % 36]}","n":' for step in range(50)) + '{"k":"a"}' + "}" * 50
        for number in count()
    )
    definitions = {"$defs": {"N": {"anyOf": tagged}}}
    yield "36 tagged objects within each other", listed({"$ref": "#/$defs/N"}, **definitions), filled(chains)
