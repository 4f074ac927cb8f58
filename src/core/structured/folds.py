"""Folds join the values that one field has in several outputs: each takes the values in order and writes the result.

Absent and null values do not change a field's joined value. The joined value is null if the field was null in some
outputs and had no other value, and absent if the field was absent in all outputs.

Results are written as JSON in pieces of UTF-8. As Python's objects, 20 MB of small items take several times as much.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from itertools import compress
from typing import Final

from ..errors import NotJoinable
from .equality import HASHED, Digests, decimal_of, identity, scaled
from .pointers import Place, pointer_to, tokens_to

ABSENT: Final = object()  # there is no value
UNION_SLICE_ITEMS: Final = 4_000  # How many items of a union are looked at in a slice: some 10 ms.


class ValueFold:
    """The base class of folds: it handles absent and null values, and calls `take` for every other value."""

    def __init__(self) -> None:
        self._spoken: object = ABSENT  # None: only nulls so far. Otherwise something was taken.

    def add(self, value: object) -> None:
        """Add the value that the field has in one output; ABSENT if the output lacks the field."""
        if value is ABSENT:
            return
        if value is None:
            self._spoken = None if self._spoken is ABSENT else self._spoken
            return
        self._spoken = True
        self.take(value)

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

    def take(self, value: object) -> None:
        """Add a value of the field that is neither absent nor null."""
        raise NotImplementedError

    def taken(self) -> "list[bytes | ListFold]":
        """Write the result of the values that were taken: at least one."""
        raise NotImplementedError


class ChoiceFold(ValueFold):
    """Keeps one of a field's values, for example the first or the largest. `prefers(new, kept)` chooses."""

    def __init__(self, prefers: Callable[[object, object], bool]) -> None:
        super().__init__()
        self._prefers = prefers
        self._kept: object = ABSENT

    def take(self, value: object) -> None:
        """Keep a value of the field if the fold prefers it to the one that it has kept so far."""
        if self._kept is ABSENT or self._prefers(value, self._kept):
            self._kept = value

    def taken(self) -> "list[bytes | ListFold]":
        """Write the value that was kept."""
        return [_json(self._kept)]


class SumFold(ValueFold):
    """Adds a field's numbers as exact decimals: 0.1 and 0.2 are 0.3. The sum of a field's integers is an integer."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._digits = self._exponent = 0
        self._is_whole = True

    def take(self, value: object) -> None:
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
            raise NotJoinable(pointer_to(self._place), "The sum is larger than the largest double.")
        return [_json(self._digits if self._is_whole else total)]  # of whole numbers the exponent is 0


class ListFold(ValueFold):
    """Joins a field's arrays in order. With `is_union` an item that equals an earlier one is left out.

    Before an output is added, `mark` says which items of a union are new. A fold that does not hold its items
    (`let_go`) writes itself in place of them, and `piece` then writes those of one output after the other.
    """

    def __init__(self, place: Place, *, is_union: bool) -> None:
        super().__init__()
        self.is_union = is_union
        self._path = tuple(map(str, tokens_to(place)))
        self._pieces: list[bytes] | None = []  # the items of one array after the other, without brackets
        self._seen = Digests() if is_union else None
        self._marks: list[bytes] = []  # for each output a byte for each item of a union, compressed: 1 if it is new

    def lists(self) -> "Iterator[ListFold]":
        """Yield this fold."""
        yield self

    def let_go(self) -> None:
        """Hold no items, because they are read again when they are written."""
        self._pieces = None

    def mark(self, number: int, value: object, part: int, parts: int) -> Iterator[int]:
        """Note which items of the output `number` are new to a union. Yields after each slice how many items it had.

        The outputs may come several times, each time with another `part` of `parts`: only its items are looked at, so
        that the set holds a part of them at a time.
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

    def take(self, value: object) -> None:
        """Append the array's items."""
        assert isinstance(value, list)
        if self._pieces is None:
            return
        fresh = value if self._seen is None else self._new(len(self._marks) - 1, value)
        if fresh:
            self._pieces += [b",", _json(fresh)[1:-1]]

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

    def take(self, value: object) -> None:
        """Add each field of an object to the fold of that field."""
        assert isinstance(value, dict)
        for name, fold in self._fields.items():
            fold.add(value.get(name, ABSENT))

    def taken(self) -> "list[bytes | ListFold]":
        """Write the joined object, without the fields that no object had."""
        pieces: list[bytes | ListFold] = []
        for name, fold in self._fields.items():
            if not fold.is_absent:
                pieces += [b",", _json(name), b":", *fold.written()]
        return [b"{", *pieces[1:], b"}"]


_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json(value: object) -> bytes:
    """Write a value as compact JSON."""
    return _ENCODE(value).encode()
