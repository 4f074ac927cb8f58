"""A schema's compiled nodes: what a value has to be, in a form that is quick to check."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, NoneType
from typing import Final

from .equality import Key
from .pointers import Place

# The Python types of JSON's types, as `json.loads` makes them.
KINDS: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (NoneType,),
}
ALL_KINDS: Final = frozenset(kind for kinds in KINDS.values() for kind in kinds)
NUMBERS: Final = frozenset({int, float})


_EMPTY: Final[Mapping[str, "SchemaNode"]] = MappingProxyType({})
_NO_KINDS: Final[Mapping[type, tuple["SchemaNode", ...]]] = MappingProxyType({})


class SchemaNode:
    """One schema of the document. Built by `schema`, and never changed after `settle`.

    Alternatives of `anyOf` are `branches`. A node whose `ref` is set stands for another one, and no check meets it.
    """

    ref: str | None = None
    type_names: tuple[str, ...] = ()  # empty: every type
    kinds: frozenset[type] = ALL_KINDS
    is_whole: bool = False  # a number has to be whole
    properties: Mapping[str, "SchemaNode"] = _EMPTY
    required: tuple[str, ...] = ()
    required_names: frozenset[str] = frozenset()
    is_closed: bool = False  # no other property
    items: "SchemaNode | None" = None
    branches: tuple["SchemaNode", ...] = ()
    members: tuple[frozenset[Key], ...] = ()  # of `enum` and of `const`
    words: frozenset[str] = frozenset()  # the strings that all of them have
    members_size: int = 0  # values in the largest member
    members_text: str = ""
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    multiple_of: tuple[int, int] | None = None
    multiple_of_text: str = ""
    min_items: int = 0
    max_items: int | None = None
    min_length: int = 0
    max_length: int | None = None
    format_name: str | None = None
    format: Callable[[str], bool] | None = None
    plain: frozenset[type] = frozenset()  # a value of such a type is valid whatever it holds
    possible: frozenset[type] = ALL_KINDS  # a value of another type is not valid
    by_kind: Mapping[type, tuple["SchemaNode", ...]] = _NO_KINDS  # the branches that a value of a type may fit
    tag: str | None = None  # a property whose string says to which branch an object belongs
    by_tag: Mapping[str, "SchemaNode"] = _EMPTY

    def __init__(self, place: Place) -> None:
        self.place: Final = place

    @property
    def has_bounds(self) -> bool:
        """Whether a number has to be more than a number."""
        bounds = (self.minimum, self.maximum, self.exclusive_minimum, self.exclusive_maximum, self.multiple_of)
        return any(bound is not None for bound in bounds)

    @property
    def only_branches(self) -> bool:
        """Whether it says nothing but `anyOf`."""
        says_more = (
            *(self.type_names, self.members, self.required, self.is_closed, self.has_bounds, self.min_items),
            *(self.min_length, bool(self.properties), self.items is not None, self.format is not None),
            *(self.max_items is not None, self.max_length is not None),
        )
        return bool(self.branches) and not any(says_more)

    def settle(self) -> None:
        """Derive what checks ask first. All branches are settled before."""
        possible = self.kinds & self._member_kinds() if self.members else self.kinds
        if self.branches:
            possible &= frozenset[type]().union(*(branch.possible for branch in self.branches))
            self.by_kind = {
                kind: tuple(branch for branch in self.branches if kind in branch.possible) for kind in possible
            }
            self._find_tag(self.by_kind.get(dict, ()))
        self.possible = possible
        self.plain = self._plain()

    def _find_tag(self, branches: tuple["SchemaNode", ...]) -> None:
        """Find a required property whose strings differ between all branches for objects."""
        for name in branches[0].required if len(branches) > 1 else ():
            choices = [branch.properties.get(name) if name in branch.required_names else None for branch in branches]
            by_tag: dict[str, SchemaNode] = {}
            for choice, branch in zip(choices, branches, strict=True):
                if choice is None or not choice.has_only_words or not by_tag.keys().isdisjoint(choice.words):
                    break
                by_tag |= dict.fromkeys(choice.words, branch)
            else:
                self.tag, self.by_tag = name, by_tag
                return

    @property
    def has_only_words(self) -> bool:
        """Whether `enum` and `const` allow strings alone. No `anyOf` and no `$ref` is followed to find out."""
        return bool(self.members) and all(name == "string" for keys in self.members for name, _ in keys)

    def _member_kinds(self) -> frozenset[type]:
        """The types of values that `enum` and `const` allow."""
        return frozenset.intersection(*(frozenset(_kinds_of(keys)) for keys in self.members))

    def _plain(self) -> frozenset[type]:
        """The types whose every value is valid."""
        if self.members:
            return frozenset()
        plain = set(self.possible)
        if self.branches:
            plain &= set[type]().union(*(branch.plain for branch in self.branches))
        if self.properties or self.required or self.is_closed:
            plain.discard(dict)
        if self.items is not None or self.min_items or self.max_items is not None:
            plain.discard(list)
        if self.min_length or self.max_length is not None or self.format is not None:
            plain.discard(str)
        if self.is_whole:
            plain.discard(float)
        return frozenset(plain - NUMBERS if self.has_bounds else plain)


def _kinds_of(keys: Iterable[Key]) -> Iterable[type]:
    """Yield the types that values with these keys have. A number's key stands for both types of numbers."""
    for name, value in keys:
        if name == "name":
            yield type(value)
        else:
            yield from KINDS[name]
