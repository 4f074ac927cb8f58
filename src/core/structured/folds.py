"""Folds join the values that one field has in several outputs: each takes the values in order and writes the result.

Absent and null values do not change a field's joined value. The joined value is null if the field was null in some
outputs and had no other value, and absent if the field was absent in all outputs.

Results are written as JSON in pieces of UTF-8. As Python's objects, 20 MB of small items take several times as much.
"""

import json
from collections.abc import Callable
from typing import Final

from .equality import Digests, decimal_of, identity, scaled
from .pointers import Place, pointer_to
from .refusals import NotJoinable

ABSENT: Final = object()  # there is no value


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

    def written(self) -> list[bytes]:
        """Write the field's joined value, if it has one. Raises NotJoinable for a sum beyond the largest double."""
        return self.taken() if self._spoken is True else [b"null"]

    def take(self, value: object) -> None:
        """Add a value of the field that is neither absent nor null."""
        raise NotImplementedError

    def taken(self) -> list[bytes]:
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

    def taken(self) -> list[bytes]:
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

    def taken(self) -> list[bytes]:
        """Write the sum. Raises NotJoinable if it is larger than the largest double."""
        total = float(f"{self._digits}e{self._exponent}")
        if total in {float("inf"), float("-inf")}:
            raise NotJoinable(pointer_to(self._place), "The sum is larger than the largest double.")
        return [_json(self._digits if self._is_whole else total)]  # of whole numbers the exponent is 0


class ListFold(ValueFold):
    """Joins a field's arrays in order. With `is_union` an item that equals an earlier one is left out."""

    def __init__(self, *, is_union: bool) -> None:
        super().__init__()
        self._pieces: list[bytes] = []  # the items of one array after the other, without brackets
        self._seen = Digests() if is_union else None

    def take(self, value: object) -> None:
        """Append the array's items."""
        assert isinstance(value, list)
        fresh = value if self._seen is None else self._unseen(value, self._seen)
        if fresh:
            self._pieces += [b",", _json(fresh)[1:-1]]

    def _unseen(self, items: list[object], seen: Digests) -> list[object]:
        return [item for item in items if seen.add(identity(item))]

    def taken(self) -> list[bytes]:
        """Write the items."""
        return [b"[", *self._pieces[1:], b"]"]


class ObjectFold(ValueFold):
    """Joins objects field by field, with the fields in the schema's order."""

    def __init__(self, fields: dict[str, ValueFold]) -> None:
        super().__init__()
        self._fields = fields

    def take(self, value: object) -> None:
        """Add each field of an object to the fold of that field."""
        assert isinstance(value, dict)
        for name, fold in self._fields.items():
            fold.add(value.get(name, ABSENT))

    def taken(self) -> list[bytes]:
        """Write the joined object, without the fields that no object had."""
        pieces: list[bytes] = []
        for name, fold in self._fields.items():
            if not fold.is_absent:
                pieces += [b",", _json(name), b":", *fold.written()]
        return [b"{", *pieces[1:], b"}"]


_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json(value: object) -> bytes:
    """Write a value as compact JSON."""
    return _ENCODE(value).encode()
