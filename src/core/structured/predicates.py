"""Compiles what one schema node says about a value alone, without the values inside it and without `anyOf`.

A node has a predicate for each Python type of values. Most outputs consist of many values of few nodes, so a predicate
also tests a whole list of values at once, in loops of C.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from types import NoneType
from typing import Any, NamedTuple

from .equality import Key, key_of, scalar_key
from .multiples import FloatMultiples
from .nodes import SchemaNode

_KNOWN_MOST, _KNOWN_CHARS = 1_000, 200  # Of so many values of an `enum`, if not longer, the text is remembered.
_OF_ONE_HASH_MOST = 4  # The most numbers of one `enum` with one hash in Python.


class Predicate(NamedTuple):
    """What a node says about values of one Python type.

    `one` tests a value, `every` tests all values of a list, and `which_not` finds the positions of those that fail.
    """

    one: Callable[[Any], bool]
    every: Callable[[list[Any]], bool]
    which_not: Callable[[list[Any]], list[int]]


def fits_alone(node: SchemaNode, value: object) -> bool:
    """Whether the value itself fits the schema node, without the values inside it and without `anyOf`."""
    kind = type(value)
    if kind in node.plain:
        return True
    predicate = _predicate(node, kind)
    return predicate is not None and predicate.one(value)


def test_of(node: SchemaNode, kind: type) -> Callable[[Any], bool]:
    """Return the test of whether a value of a Python type fits the node alone: see `fits_alone`."""
    test = node.tests.get(kind)
    if test is None:
        predicate = None if kind in node.plain else _predicate(node, kind)
        test = _always if kind in node.plain else _never if predicate is None else predicate.one
        node.tests[kind] = test
    return test


def _predicate_of(one: Callable[[Any], bool], every: Callable[[list[Any]], bool]) -> Predicate:
    """Make a predicate that tests the values of a list one by one, unless `every` says that all are good."""
    return Predicate(
        one, every, lambda values: [] if every(values) else [at for at, value in enumerate(values) if not one(value)]
    )


def _always(_: object) -> bool:
    return True


def _never(_: object) -> bool:
    return False


def misfits(node: SchemaNode, values: list[Any]) -> list[int]:
    """Return the positions of the values that do not fit the node alone: see `fits_alone`."""
    if len(values) == 1:
        return [] if fits_alone(node, values[0]) else [0]
    kinds = set(map(type, values))
    if kinds <= node.plain:
        return []
    if len(kinds) == 1:
        predicate = _predicate(node, kinds.pop())
        if predicate is None:
            return list(range(len(values)))
        return predicate.which_not(values)
    found = list[int]()
    for kind, positions in by_type(values, kinds).items():
        if kind in node.plain:
            continue
        predicate = _predicate(node, kind)
        if predicate is None:
            found += positions
        else:
            found += [positions[at] for at in predicate.which_not([values[at] for at in positions])]
    return sorted(found)


def by_type(values: list[Any], kinds: Iterable[type]) -> dict[type, list[int]]:
    """Return the positions of the values of each Python type. `kinds` are all types of the values."""
    found = {kind: list[int]() for kind in kinds}
    for at, kind in enumerate(map(type, values)):
        found[kind].append(at)
    return found


def _predicate(node: SchemaNode, kind: type) -> Predicate | None:
    """Return the node's predicate for values of a Python type; None if no such value fits the node."""
    known = node.predicates.get(kind)
    if known is None:
        known = node.predicates[kind] = (_compiled(node, kind),)
    found: Predicate | None = known[0]
    return found


def _compiled(node: SchemaNode, kind: type) -> Predicate | None:
    if kind not in node.kinds:
        return None
    parts = [_members(node, kind)] if node.members else []
    if kind is dict:
        parts += _names(node)
    elif kind is list:
        parts += _sizes(node.min_items, node.max_items)
    elif kind is str:
        parts += _sizes(node.min_length, node.max_length)
        if node.format is not None:
            parts.append(_each(node.format))
    elif kind is not bool and kind is not NoneType:
        parts += _numbers(node, kind)
    found = parts[0] if parts else Predicate(_always, _always, lambda _: [])
    for part in parts[1:]:
        found = _both(found, part)
    return found


def _both(first: Predicate, second: Predicate) -> Predicate:
    one, other = first.one, second.one
    every, every_other = first.every, second.every
    which, which_other = first.which_not, second.which_not
    return Predicate(
        lambda value: one(value) and other(value),
        lambda values: every(values) and every_other(values),
        lambda values: sorted({*which(values), *which_other(values)}),
    )


def _each(one: Callable[[Any], bool]) -> Predicate:
    """Make a predicate that has no quicker way to test a list than to test each value."""
    return Predicate(
        one,
        lambda values: all(map(one, values)),
        lambda values: [at for at, value in enumerate(values) if not one(value)],
    )


def _members(node: SchemaNode, kind: type) -> Predicate:
    """Compile `enum` and `const`."""
    allowed = frozenset.intersection(*node.members)
    if kind is str:
        return _predicate_of(node.words.__contains__, node.words.issuperset)
    if kind is dict or kind is list:
        most = node.members_size
        return _containers(allowed, most)
    if kind is int or kind is float:
        texts = [str(value) for name, value in allowed if name == "number"]
        numbers = frozenset(int(text) if text.removeprefix("-").isdecimal() else float(text) for text in texts)
        if max(Counter(map(hash, numbers)).values(), default=0) <= _OF_ONE_HASH_MOST:
            return _predicate_of(numbers.__contains__, numbers.issuperset)
    return _each(lambda value: scalar_key(value) in allowed)


def _containers(allowed: frozenset[Key], most: int) -> Predicate:
    """Compile `enum` and `const` for arrays or objects.

    Values with the same `repr`, which is a loop of C, are the same, so that only different values get a key. The texts
    of some good values are remembered.
    """
    known = set[str]()

    def one(value: Any) -> bool:
        return key_of(value, most) in allowed

    def which_not(values: list[Any]) -> list[int]:
        texts = list(map(repr, values))
        if known.issuperset(texts):
            return []
        distinct = dict(zip(texts, values, strict=True))
        failed = {text for text, value in distinct.items() if text not in known and not one(value)}
        if len(known) < _KNOWN_MOST:
            some = islice((text for text in distinct if text not in failed and len(text) <= _KNOWN_CHARS), _KNOWN_MOST)
            known.update(some)
        return [at for at, text in enumerate(texts) if text in failed] if failed else []

    return Predicate(one, lambda values: not which_not(values), which_not)


def _names(node: SchemaNode) -> list[Predicate]:
    """Compile `required` and `additionalProperties`, which look at an object's names alone."""
    required, known = node.required_names, node.properties.keys()
    if not node.is_closed:
        if not required:
            return []
        one: Callable[[Any], bool] = lambda value: value.keys() >= required  # noqa: E731
    else:
        one = lambda value: value.keys() >= required and value.keys() <= known  # noqa: E731
    # The objects of a list mostly have the same names in the same order.
    return [_predicate_of(one, lambda values: all(one(dict.fromkeys(names)) for names in set(map(tuple, values))))]


def _sizes(least: int, most: int | None) -> list[Predicate]:
    """Compile `minLength` and `maxLength`, which count code points, or `minItems` and `maxItems`."""
    if not least and most is None:
        return []
    limit = inf if most is None else most
    return [
        Predicate(
            lambda value: least <= len(value) <= limit,
            lambda values: least <= min(map(len, values)) and max(map(len, values)) <= limit,
            lambda values: [at for at, value in enumerate(values) if not least <= len(value) <= limit],
        )
    ]


def _numbers(node: SchemaNode, kind: type) -> list[Predicate]:
    parts = [_each(float.is_integer)] if kind is float and node.is_whole else []
    if node.minimum is not None or node.maximum is not None:
        low = -inf if node.minimum is None else node.minimum
        high = inf if node.maximum is None else node.maximum
        parts.append(
            Predicate(
                lambda value: low <= value <= high,
                lambda values: low <= min(values) and max(values) <= high,
                lambda values: [at for at, value in enumerate(values) if not low <= value <= high],
            )
        )
    if node.exclusive_minimum is not None or node.exclusive_maximum is not None:
        above = -inf if node.exclusive_minimum is None else node.exclusive_minimum
        below = inf if node.exclusive_maximum is None else node.exclusive_maximum
        parts.append(
            Predicate(
                lambda value: above < value < below,
                lambda values: above < min(values) and max(values) < below,
                lambda values: [at for at, value in enumerate(values) if not above < value < below],
            )
        )
    if node.multiple_of is not None:
        parts += _multiples(node.multiple_of, kind)
    return parts


def _multiples(divisor: tuple[int, int], kind: type) -> list[Predicate]:
    """Compile `multipleOf`, in exact decimals."""
    if kind is float:
        floats = FloatMultiples(divisor)
        return [Predicate(floats.one, floats.every, floats.which_not)]
    digits, exponent = divisor
    scale = int(10 ** max(-exponent, 0))
    divisor_digits = digits * int(10 ** max(exponent, 0))
    if scale % divisor_digits == 0:  # Each whole number is a multiple of 0.01, or of 1.
        return []
    if scale == 1:
        remainder = divisor_digits.__rmod__
        return [
            _predicate_of(lambda value: value % divisor_digits == 0, lambda values: not any(map(remainder, values)))
        ]
    factor = scale % divisor_digits
    return [_each(lambda value: value * factor % divisor_digits == 0)]
