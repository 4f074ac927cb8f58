"""Joins outputs without a model call (`concat`): arrays in order, and every other field by its rule.

If `joiner_for` accepts a schema and rules, then valid outputs give a joined value that is valid, too. A test checks
this with random schemas, rules and values.

A fold joins the values that one field has in several outputs, in order. Absent and null values change nothing: the
result is null if the field was null in some outputs and had no other value, and absent if it was absent in all. Results
are written as JSON in pieces of UTF-8: as Python objects, 20 MB of small items would take several times as much.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, compress
from types import NoneType
from typing import Final

from ...kernel.domain.errors import NotJoinable
from ...kernel.domain.limits import JOIN_FIELDS_MOST, VALUE_LEVELS_MOST
from ...kernel.domain.structure import Quote
from .schema.document import COMPACT
from .schema.equality import HASHED, Digests, decimal_of, identity, scaled
from .schema.nodes import NUMBERS, SchemaNode
from .schema.pointers import Path, escaped, pointer_to, tokens_of, tokens_to
from .schema.schema import OutputSchema

ABSENT: Final = object()  # there is no value
UNION_SLICE_ITEMS: Final = 4_000  # How many items of a union are looked at in a portion: some 10 ms.


class ValueFold:
    """The base class of folds: it handles absent and null values, and calls `take` for every other value."""

    def __init__(self) -> None:
        self._spoken: object = ABSENT  # None: only nulls so far. Otherwise something was taken.

    def add(self, value: object, number: int) -> None:
        """Add the value that the field has in the output `number`; ABSENT if the output lacks the field."""
        if value is ABSENT:
            return
        if value is None:
            self._spoken = None if self._spoken is ABSENT else self._spoken
            return
        self._spoken = True
        self.take(value, number)

    @property
    def is_absent(self) -> bool:
        """Whether the joined result has no such field."""
        return self._spoken is ABSENT

    def lists(self) -> "Iterator[ListFold]":
        """Yield the folds of arrays in this one, itself included."""
        yield from ()

    def written(self) -> "list[bytes | ListFold]":
        """Write the field's joined value, if it has one. Raises NotJoinable for a sum beyond the largest double."""
        return self.taken() if self._spoken is True else [b"null"]

    def take(self, value: object, number: int) -> None:
        """Add a value of the field that is neither absent nor null."""
        raise NotImplementedError

    def place(self, number: int, tokens: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return where a part of the field's value in an output is in the joined value. None: it was left out.

        All outputs were added. `tokens` lead to the part from the field's value, in both cases.
        """
        return tokens

    def taken(self) -> "list[bytes | ListFold]":
        """Write the result of the values that were taken: at least one."""
        raise NotImplementedError


class ChoiceFold(ValueFold):
    """Keeps one of a field's values, for example the first or the largest. `prefers(new, kept)` chooses."""

    def __init__(self, prefers: Callable[[object, object], bool]) -> None:
        super().__init__()
        self._prefers = prefers
        self._kept: object = ABSENT
        self._of = -1  # the output that it is of

    def take(self, value: object, number: int) -> None:
        """Keep a value of the field if the fold prefers it to the one that it has kept so far."""
        if self._kept is ABSENT or self._prefers(value, self._kept):
            self._kept, self._of = value, number

    def place(self, number: int, tokens: tuple[str, ...]) -> tuple[str, ...] | None:
        """See `ValueFold.place`."""
        return tokens if number == self._of else None

    def taken(self) -> "list[bytes | ListFold]":
        """Write the value that was kept."""
        return [_json(self._kept)]


class SumFold(ValueFold):
    """Adds a field's numbers as exact decimals: 0.1 and 0.2 are 0.3. The sum of a field's integers is an integer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._digits = self._exponent = 0
        self._is_whole = True

    def take(self, value: object, number: int) -> None:
        """Add a number."""
        assert isinstance(value, int | float)
        self._is_whole = self._is_whole and isinstance(value, int)
        digits, exponent = decimal_of(value)
        lower = min(exponent, self._exponent)
        self._digits = scaled(self._digits, self._exponent - lower) + scaled(digits, exponent - lower)
        self._exponent = lower

    def taken(self) -> "list[bytes | ListFold]":
        """Write the sum. Raises NotJoinable if it is larger than the largest double."""
        total = float(f"{self._digits}e{self._exponent}")
        if total in {float("inf"), float("-inf")}:
            raise NotJoinable(pointer_to(self._path), "The sum is larger than the largest double.")
        return [_json(self._digits if self._is_whole else total)]  # of whole numbers the exponent is 0


class ListFold(ValueFold):
    """Joins a field's arrays in order. With `is_union` an item that equals an earlier one is left out.

    Before an output is added, `mark` says which items of a union are new. A fold that does not hold its items
    (`let_go`) writes itself in place of them, and `piece` then writes those of one output after the other.
    """

    def __init__(self, path: Path, *, is_union: bool) -> None:
        super().__init__()
        self.is_union = is_union
        self._path = _tokens(path)
        self._pieces: list[bytes] | None = []  # the items of one array after the other, without brackets
        self._seen = Digests() if is_union else None
        self._marks: list[bytes] = []  # for each output a byte for each item of a union, compressed: 1 if it is new
        self._firsts: list[int] = []  # for each output, where its first item is in the joined array, or would be
        self._sizes = dict[int, int]()  # for each output with the array, how many items it has there
        self._shown: tuple[int, list[int]] = -1, []  # An output, and how many of the items up to each are new.

    def lists(self) -> "Iterator[ListFold]":
        """Yield this fold."""
        yield self

    def let_go(self) -> None:
        """Hold no items, because they are read again when they are written."""
        self._pieces = None

    def mark(self, number: int, value: object, part: int, parts: int) -> Iterator[int]:
        """Note which items of the output `number` are new to a union. Yields after each portion how many items it had.

        The outputs may come several times, each time with another `part` of `parts`, whose items alone the set holds.
        """
        if self._seen is None:
            return
        items = self._items(value)
        if number == 0:
            self._seen = Digests()
        is_first = number == len(self._marks)
        marks = bytearray(len(items) if is_first else zlib.decompress(self._marks[number]))
        here = set[object]()  # Most repeats are near, and a look at what has a hash of its own is quick.
        for start in range(0, len(items), UNION_SLICE_ITEMS):
            for at, item in enumerate(items[start : start + UNION_SLICE_ITEMS], start):
                if type(item) is str or (type(item) is int and 0 <= item < HASHED):
                    if item in here:
                        continue
                    here.add(item)
                digest = identity(item)
                if digest[-1] % parts == part and self._seen.add(digest):
                    marks[at] = 1
            yield min(UNION_SLICE_ITEMS, len(items) - start)
        self._marks[number : number + 1] = [zlib.compress(marks, 1)]

    def take(self, value: object, number: int) -> None:
        """Append the array's items."""
        assert isinstance(value, list)
        self._sizes[number] = len(value)
        if self._pieces is None:
            return
        fresh = value if self._seen is None else self._new(len(self._marks) - 1, value)
        if fresh:
            self._pieces += [b",", _json(fresh)[1:-1]]

    def place(self, number: int, tokens: tuple[str, ...]) -> tuple[str, ...] | None:
        """See `ValueFold.place`. It is asked about the outputs in their order."""
        while len(self._firsts) <= number:
            self._firsts.append(self._firsts[-1] + self._count(len(self._firsts) - 1) if self._firsts else 0)
        at = int(tokens[0])
        if self._seen is not None:
            if self._shown[0] != number:
                self._shown = number, list(accumulate(zlib.decompress(self._marks[number])))
            new = self._shown[1]
            if new[at] == (new[at - 1] if at else 0):
                return None
            at = new[at] - 1
        return (str(self._firsts[number] + at), *tokens[1:])

    def _count(self, number: int) -> int:
        """Return how many items the joined array has from an output."""
        return self._sizes.get(number, 0) if self._seen is None else zlib.decompress(self._marks[number]).count(1)

    def taken(self) -> "list[bytes | ListFold]":
        """Write the items, or the fold in place of them."""
        if self._pieces is None:
            return [b"[", self, b"]"]
        return [b"[", *self._pieces[1:], b"]"]

    def marked(self) -> None:
        """Forget the set, once all items are marked."""
        if self._seen is not None:
            self._seen = Digests()

    def piece(self, number: int, value: object) -> bytes:
        """Write the items of the output `number`, without brackets."""
        items = self._items(value)
        return _json(items if self._seen is None else self._new(number, items))[1:-1]

    def _new(self, number: int, items: list[object]) -> list[object]:
        return list(compress(items, zlib.decompress(self._marks[number])))

    def _items(self, value: object) -> list[object]:
        for name in self._path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, list) else []


class ObjectFold(ValueFold):
    """Joins objects field by field, with the fields in the schema's order."""

    def __init__(self, fields: dict[str, ValueFold]) -> None:
        super().__init__()
        self._fields = fields

    def lists(self) -> Iterator[ListFold]:
        """Yield the folds of arrays in the object."""
        for fold in self._fields.values():
            yield from fold.lists()

    def take(self, value: object, number: int) -> None:
        """Add each field of an object to the fold of that field."""
        assert isinstance(value, dict)
        for name, fold in self._fields.items():
            fold.add(value.get(name, ABSENT), number)

    def place(self, number: int, tokens: tuple[str, ...]) -> tuple[str, ...] | None:
        """See `ValueFold.place`."""
        inside = self._fields[tokens[0]].place(number, tokens[1:])
        return None if inside is None else (tokens[0], *inside)

    def taken(self) -> "list[bytes | ListFold]":
        """Write the joined object, without the fields that no object had."""
        pieces: list[bytes | ListFold] = []
        for name, fold in self._fields.items():
            if not fold.is_absent:
                pieces += [b",", _json(name), b":", *fold.written()]
        return [b"{", *pieces[1:], b"}"]


def _json(value: object) -> bytes:
    return COMPACT(value).encode()


UNION: Final = "union"
_CHOICES: Final[dict[str, Callable[[object, object], bool]]] = {
    "first": lambda _new, _kept: False,
    "last": lambda _new, _kept: True,
    "min": lambda new, kept: _number(new) < _number(kept),
    "max": lambda new, kept: _number(new) > _number(kept),
    "any": lambda new, _kept: new is True,
    "all": lambda new, _kept: new is False,
}
_OF_NUMBERS, _OF_BOOLEANS = frozenset({"sum", "min", "max"}), frozenset({"any", "all"})
_NULL: Final = frozenset({NoneType})
# What takes as long as reading and writing so many characters of JSON: a look at an item of a union, and a field.
_UNION_ITEM_CHARS, _FIELD_CHARS = 75, 20


class Joiner:
    """Joins the outputs of one task: call `add` for each valid output in the text's order, then `result`.

    It holds the result once, as it is written; after `let_go` it holds no arrays, and looks at unions in parts: all
    outputs are added once for each part.
    """

    def __init__(self, fold: ValueFold) -> None:
        self._fold = fold
        self._lists = tuple(fold.lists())
        self._number = self._part = 0
        self._parts = 1

    def let_go(self, parts: int) -> int:
        """Hold no arrays, because the outputs can be read again. Return how often the outputs are to be added."""
        for one in self._lists:
            one.let_go()
        self._parts = parts if any(one.is_union for one in self._lists) else 1
        return self._parts

    def again(self) -> None:
        """Begin anew with the first output, for the next part of the unions."""
        self._number, self._part = 0, self._part + 1

    def add(self, value: dict[str, object]) -> None:
        """Add an output that fits the schema to the outputs to join."""
        for _ in self.adding(value):
            pass

    def adding(self, value: dict[str, object]) -> Iterator[int]:
        """Add an output as `add` does, in portions. Yields after each portion how much it has done, in characters."""
        for one in self._lists:
            for items in one.mark(self._number, value, self._part, self._parts):
                yield items * _UNION_ITEM_CHARS
        if not self._part:
            self._fold.add(value, self._number)
        self._number += 1
        yield len(self._lists) * _FIELD_CHARS

    def placed(self, number: int, quotes: Sequence[Quote]) -> Iterator[Quote]:
        """Yield the quotes of an output that the joined value has, with their pointers there. Outputs come in order."""
        for quote in quotes:
            tokens = self._fold.place(number, tokens_of(quote.pointer) or ())
            if tokens is not None:
                yield quote._replace(pointer="".join(f"/{escaped(token)}" for token in tokens))

    def written(self) -> list[bytes | ListFold]:
        """Write the joined value of at least one output as compact JSON, in pieces of UTF-8.

        In place of an array that is not held stands its fold: see `ListFold.piece`. Raises NotJoinable if a sum is no
        double.
        """
        assert not self._fold.is_absent, "nothing was added"
        for one in self._lists:
            one.marked()
        return self._fold.written()

    def held(self) -> list[bytes]:
        """Write the joined value, whose arrays are held. Raises NotJoinable if a sum is no double."""
        pieces = self.written()
        held = [piece for piece in pieces if isinstance(piece, bytes)]
        assert len(held) == len(pieces), "an array was let go"
        return held

    def result(self) -> dict[str, object]:
        """Return the joined value, whose arrays are held. Raises NotJoinable if a sum is no double."""
        joined: dict[str, object] = json.loads(b"".join(self.held()))
        return joined


def joiner_for(schema: OutputSchema, rules: Mapping[str, str]) -> Joiner:
    """Make what joins the outputs of a task with a schema.

    `rules` has a rule for fields of the output, by their JSON pointers. Raises NotJoinable if a field outside arrays
    lacks a rule, if a rule has no field that it suits, or if the joined value might not fit the schema.
    """
    planner = _Planner(rules)
    joiner = Joiner(planner.object(schema.root, None, []))
    planner.check_all_used()
    return joiner


class _Planner:
    """Plans how each field of an output is joined. The planner recurses no deeper than VALUE_LEVELS_MOST."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules: dict[tuple[str, ...], tuple[str, str]] = {}
        for pointer, rule in rules.items():
            tokens = tokens_of(pointer)
            if not tokens or tokens in self._rules:
                raise NotJoinable(pointer, "This is not a JSON pointer to a field.")
            self._rules[tokens] = (pointer, rule)
        self._unused = dict(self._rules)
        self._fields = 0

    def check_all_used(self) -> None:
        """Refuse a rule of `join` that belongs to no field of the schema."""
        for pointer, _ in self._unused.values():
            raise NotJoinable(pointer, "The rule names no field outside arrays that is joined by itself.")

    def object(self, node: SchemaNode, path: Path, within: list[SchemaNode]) -> ObjectFold:
        """Plan how an object is joined field by field. `within` are the nodes of the objects around it."""
        if node.members or node.branches:
            raise _unjoined(path, "An object with `anyOf`, `enum` or `const` is joined only by `first` or `last`.")
        if not node.is_closed:
            raise _unjoined(
                path, 'An object without `"additionalProperties": false` may have fields that no rule names.'
            )
        if any(node is one for one in within) or len(within) >= VALUE_LEVELS_MOST:
            raise _unjoined(path, "An object that contains itself is joined only by `first` or `last`.")
        deeper = [*within, node]
        return ObjectFold({name: self._field(child, (path, name), deeper) for name, child in node.properties.items()})

    def _field(self, node: SchemaNode, path: Path, within: list[SchemaNode]) -> ValueFold:
        """Plan how one field is joined."""
        self._fields += 1
        if self._fields > JOIN_FIELDS_MOST:
            raise _unjoined(path, f"The output has more than {JOIN_FIELDS_MOST:,} fields outside arrays.")
        tokens = _tokens(path)
        rule = self._rules.get(tokens, (None, None))[1]
        self._unused.pop(tokens, None)
        inner = _without_null(node)
        kinds = inner.possible - _NULL
        if rule in {"first", "last"}:
            return ChoiceFold(_CHOICES[rule])
        if kinds == {list}:
            return _list(inner, path, rule)
        if kinds == {dict} and rule is None:
            return self.object(inner, path, within)
        if rule is None:
            raise _unjoined(path, "A field outside arrays needs a rule in `join`.")
        if rule in _OF_NUMBERS and kinds and kinds <= NUMBERS:
            return _summed(inner, path) if rule == "sum" else ChoiceFold(_CHOICES[rule])
        if rule in _OF_BOOLEANS and kinds == {bool}:
            return ChoiceFold(_CHOICES[rule])
        raise _unjoined(path, f"`{rule}` is not for a field of this type.")


def _unjoined(path: Path, reason: str) -> NotJoinable:
    return NotJoinable(pointer_to(path), reason)


def _tokens(path: Path) -> tuple[str, ...]:
    return tuple(map(str, tokens_to(path)))


def _without_null(node: SchemaNode) -> SchemaNode:
    """Return the one other branch of an `anyOf` with null, as pydantic and zod write it, else the node itself."""
    while node.only_branches:
        others = [branch for branch in node.branches if branch.possible != _NULL]
        if len(others) != 1:
            return node
        node = others[0]
    return node


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value


def _list(node: SchemaNode, path: Path, rule: str | None) -> ListFold:
    """Plan how an array is joined. Refuse one if the joined array might break what the schema says about it."""
    if rule not in {None, UNION}:
        raise _unjoined(path, f"`{rule}` is not for an array.")
    if node.members or node.branches:
        raise _unjoined(path, "An array with `anyOf`, `enum` or `const` is joined only by `first` or `last`.")
    if node.max_items is not None:
        raise _unjoined(path, "A joined array may have more items than its `maxItems`.")
    if rule == UNION and node.min_items > 1:
        raise _unjoined(path, "An array without its repeats may have fewer items than its `minItems`.")
    return ListFold(path, is_union=rule == UNION)


def _summed(node: SchemaNode, path: Path) -> SumFold:
    """Plan how a field's numbers are added. Refuse a field with a constraint that the sum might break."""
    if node.has_bounds:
        raise _unjoined(path, "The sum of a field with bounds or `multipleOf` may be outside them.")
    if node.members or node.branches:
        raise _unjoined(path, "The sum of a field with `anyOf`, `enum` or `const` may be another value.")
    return SumFold(path)
