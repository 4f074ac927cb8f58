"""What joining does with the values of one field: each fold takes values one after the other and gives the result.

A value that is absent or null says nothing. The result is null if nothing else was said, and absent if nothing was.
"""

from collections.abc import Callable
from typing import Final

from .equality import decimal_of, identity, scaled
from .pointers import Place, pointer_to
from .refusals import NotJoinable

ABSENT: Final = object()  # there is no value


class ValueFold:
    """The base of all folds: it knows absent and null, and calls `take` for every other value."""

    def __init__(self) -> None:
        self._spoken: object = ABSENT  # None: only nulls so far. Otherwise something was taken.

    def add(self, value: object) -> None:
        """Add the field's value in one output; ABSENT if the output has none."""
        if value is ABSENT:
            return
        if value is None:
            self._spoken = None if self._spoken is ABSENT else self._spoken
            return
        self._spoken = True
        self.take(value)

    def result(self) -> object:
        """Return the field's value in the joined result, or ABSENT. Raises NotJoinable for a sum without a double."""
        return self.taken() if self._spoken is True else self._spoken

    def take(self, value: object) -> None:
        """Add a value that is not null."""
        raise NotImplementedError

    def taken(self) -> object:
        """Return the result of the values that were taken: at least one."""
        raise NotImplementedError


class ChoiceFold(ValueFold):
    """Keeps one of the values: the first, the last, the smallest, the largest. `prefers(new, kept)` chooses."""

    def __init__(self, prefers: Callable[[object, object], bool]) -> None:
        super().__init__()
        self._prefers = prefers
        self._kept: object = ABSENT

    def take(self, value: object) -> None:
        """Keep the value if it is preferred."""
        if self._kept is ABSENT or self._prefers(value, self._kept):
            self._kept = value

    def taken(self) -> object:
        """Return the value that was kept."""
        return self._kept


class SumFold(ValueFold):
    """Adds numbers exactly, as decimals: 0.1 and 0.2 are 0.3. The sum of whole numbers without a point is one, too."""

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

    def taken(self) -> object:
        """Return the sum. Raises NotJoinable if it is larger than the largest double."""
        total = float(f"{self._digits}e{self._exponent}")
        if total in {float("inf"), float("-inf")}:
            raise NotJoinable(pointer_to(self._place), "The sum is larger than the largest double.")
        return self._digits if self._is_whole else total  # of whole numbers the exponent is 0


class ListFold(ValueFold):
    """Joins arrays in order. With `is_union` an item that equals an earlier one is left out."""

    def __init__(self, *, is_union: bool) -> None:
        super().__init__()
        self._items: list[object] = []
        self._seen: set[object] | None = set() if is_union else None

    def take(self, value: object) -> None:
        """Append the array's items."""
        assert isinstance(value, list)
        if self._seen is None:
            self._items += value
            return
        for item in value:
            key = identity(item)
            if key not in self._seen:
                self._seen.add(key)
                self._items.append(item)

    def taken(self) -> object:
        """Return the items."""
        return self._items


class ObjectFold(ValueFold):
    """Joins objects field by field, in the schema's order."""

    def __init__(self, fields: dict[str, ValueFold]) -> None:
        super().__init__()
        self._fields = fields

    def take(self, value: object) -> None:
        """Add each field of an object."""
        assert isinstance(value, dict)
        for name, fold in self._fields.items():
            fold.add(value.get(name, ABSENT))

    def taken(self) -> dict[str, object]:
        """Return the joined object, without the fields that no object had."""
        results = ((name, fold.result()) for name, fold in self._fields.items())
        return {name: result for name, result in results if result is not ABSENT}
