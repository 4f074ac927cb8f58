"""The compiled form of an output schema: a node for each schema in it, in a form that is quick to check."""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property, lru_cache
from itertools import chain
from types import MappingProxyType, NoneType
from typing import Final

from .equality import Key
from .pointers import Path

# For each type of JSON, the Python types of the values that `json.loads` makes.
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
_NO_NAMES: Final[Mapping[frozenset[str], tuple["SchemaNode", ...]]] = MappingProxyType({})
_NOTHING: Final[list[object]] = []

# The attributes of a node that has no keywords besides `enum`, `const` and `type`.
_OF_CONSTANTS: Final = frozenset(
    ("path", "members", "words", "members_size", "members_shown", "type_names", "kinds")
) | {"is_whole", "possible", "plain", "effort"}
_CONSTANTS_LEAST: Final = 4  # So many constants of an `anyOf` are put into one node.
GLANCED_AT_MOST: Final = 4  # The most alternatives that are tried for a value at a glance, before the search.
_SLOW_EFFORT: Final = 4  # for formats, `multipleOf`, and arrays and objects of `enum`


class SchemaNode:
    """One schema or subschema of an output schema.

    The module `schema` builds the nodes, and no node changes after `settle`. `branches` are the alternatives of the
    node's `anyOf`. A node with `ref` is replaced by the node that it refers to, so no check sees it.
    """

    ref: str | None = None
    type_names: tuple[str, ...] = ()  # Every type if empty.
    kinds: frozenset[type] = ALL_KINDS
    is_quote: bool = False  # Whether texts are quotations of the task's input.
    is_whole: bool = False  # Whether a number that fits the node must be whole.
    properties: Mapping[str, "SchemaNode"] = _EMPTY
    required: tuple[str, ...] = ()
    required_names: frozenset[str] = frozenset()
    is_closed: bool = False  # Whether other properties are forbidden.
    items: "SchemaNode | None" = None
    branches: tuple["SchemaNode", ...] = ()
    members: tuple[frozenset[Key], ...] = ()  # The keys, for comparing, of the values that `enum` and `const` allow.
    words: frozenset[str] = frozenset()  # The strings that both `enum` and `const` of the node allow.
    members_size: int = 0  # How large the largest value of `enum` or `const` is: see `key_of`.
    members_shown: list[object] = _NOTHING  # The values of the last `enum` or `const`, for a message.
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
    plain: frozenset[type] = frozenset()  # All values of these types are valid, whatever they contain.
    possible: frozenset[type] = ALL_KINDS  # The Python types that a value may have to fit the node.
    by_kind: Mapping[type, tuple["SchemaNode", ...]] = _NO_KINDS  # The `anyOf` branches that may fit, by type.
    is_shallow: bool = True  # Whether the node says nothing about the values inside a value, and has no `anyOf`.
    effort: int = 1  # of the budget, for testing one value alone
    tag: str | None = None  # A property that tells by its string which branch an object belongs to.
    by_tag: Mapping[str, "SchemaNode"] = _EMPTY
    untagged: tuple["SchemaNode", ...] = ()  # The branches that an object without `tag` may belong to.
    # Without `tag`: the branches for objects that have exactly certain names, by these names, and the other branches.
    named: Mapping[frozenset[str], tuple["SchemaNode", ...]] = _NO_NAMES
    unnamed: tuple["SchemaNode", ...] = ()

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    @property
    def has_bounds(self) -> bool:
        """Whether the node restricts numbers, by bounds or `multipleOf`."""
        return (
            self.minimum is not None
            or self.maximum is not None
            or self.exclusive_minimum is not None
            or self.exclusive_maximum is not None
            or self.multiple_of is not None
        )

    @property
    def only_branches(self) -> bool:
        """Whether the node has no keyword that constrains a value, besides `anyOf`."""
        says_more = (
            *(self.type_names, self.members, self.required, self.is_closed, self.has_bounds, self.min_items),
            *(self.min_length, bool(self.properties), self.items is not None, self.format is not None),
            *(self.max_items is not None, self.max_length is not None),
        )
        return bool(self.branches) and not any(says_more)

    def settle(self) -> None:
        """Derive the fields that make checks of values quick, after the node's branches have done so."""
        if self.branches or self.properties or self.items is not None:
            self.is_shallow = False
        possible = self.kinds & self._member_kinds() if self.members else self.kinds
        if self.branches:
            possible &= frozenset[type]().union(*[branch.possible for branch in self.branches])
            if len(self.branches) == 1:
                self.by_kind = dict.fromkeys(possible, self.branches)
            else:
                searched = _constants_as_one(self.branches)
                self.by_kind = {
                    kind: tuple([branch for branch in searched if kind in branch.possible]) for kind in possible
                }
                of_objects = self.by_kind.get(dict, ())
                if len(of_objects) > 1:
                    self._find_tag(of_objects)
                    if self.tag is None:
                        self._sort_by_names(of_objects)
        self.possible = possible
        self.plain = self._plain()
        if self.multiple_of is not None or self.format is not None or self.members_size > 1:
            self.effort = _SLOW_EFFORT
        if len(self.branches) > 1:
            tried = [branches[:GLANCED_AT_MOST] for branches in self.by_kind.values()]
            self.effort += max([sum([branch.effort for branch in branches]) for branches in tried], default=0)

    def _find_tag(self, branches: tuple["SchemaNode", ...]) -> None:
        """Set `tag`: a property that all branches for objects have, preferably require, with other strings in each."""
        for name in (*branches[0].required, *branches[0].properties):
            by_tag: dict[str, SchemaNode] = {}
            for branch in branches:
                choice = branch.properties.get(name)
                if choice is None or not choice.has_only_words or not by_tag.keys().isdisjoint(choice.words):
                    break
                by_tag.update(dict.fromkeys(choice.words, branch))
            else:
                self.tag, self.by_tag = name, by_tag
                self.untagged = tuple(branch for branch in branches if name not in branch.required_names)
                return

    def _sort_by_names(self, branches: tuple["SchemaNode", ...]) -> None:
        """Set `named` and `unnamed`."""
        named = dict[frozenset[str], tuple[SchemaNode, ...]]()
        for branch in branches:
            if branch.has_exact_names:
                named[branch.required_names] = (*named.get(branch.required_names, ()), branch)
        if named:
            self.named = named
        self.unnamed = tuple(branch for branch in branches if not branch.has_exact_names)

    @property
    def has_exact_names(self) -> bool:
        """Whether all objects that fit the node have the same names."""
        return self.is_closed and len(self.required_names) == len(self.properties)

    @property
    def has_only_words(self) -> bool:
        """Whether the node's own `enum` or `const` allows strings alone, without regard to `anyOf`."""
        return bool(self.members) and all(name == "string" for keys in self.members for name, _ in keys)

    @cached_property
    def is_constant(self) -> bool:
        """Whether the settled node allows exactly the values of its `enum` or `const`: at most a type is beside it."""
        # A node has attributes of its own only for the keywords of its schema.
        return (
            bool(self.members)
            and vars(self).keys() <= _OF_CONSTANTS
            and (not self.type_names or self.possible == self._member_kinds())
            and not (self.is_whole and any(name == "number" and type(value) is str for name, value in self.members[0]))
        )

    def _member_kinds(self) -> frozenset[type]:
        """The Python types of the values that `enum` and `const` allow."""
        return ALL_KINDS.intersection(*map(_kinds_of, self.members))

    def _plain(self) -> frozenset[type]:
        """The Python types whose values the node allows without exception."""
        if self.members:
            return frozenset()
        plain = self.possible
        if self.branches:
            plain &= frozenset[type]().union(*[branch.plain for branch in self.branches])
        return _unlimited(
            plain,
            bool(self.properties or self.required or self.is_closed),
            self.items is not None or bool(self.min_items) or self.max_items is not None,
            bool(self.min_length) or self.max_length is not None or self.format is not None,
            self.is_whole,
            self.has_bounds,
        )


def _constants_as_one(branches: tuple[SchemaNode, ...]) -> list[SchemaNode]:
    """Replace the branches that are only an `enum` or a `const`, with or without a type, by one with all their values.

    A value is then looked up once, however many such branches there are. A few of them are left as they are.
    """
    constant = [branch for branch in branches if branch.is_constant]
    if len(constant) < _CONSTANTS_LEAST:
        return list(branches)
    merged = SchemaNode(constant[0].path)
    merged.members = (frozenset[Key]().union(*[frozenset.intersection(*branch.members) for branch in constant]),)
    merged.words = frozenset[str]().union(*[branch.words for branch in constant])
    merged.members_size = max([branch.members_size for branch in constant])
    merged.members_shown = list(chain.from_iterable([branch.members_shown for branch in constant]))
    if merged.members_size > 1:
        merged.effort = _SLOW_EFFORT
    merged.possible = frozenset[type]().union(*[branch.possible for branch in constant])
    if len(constant) == len(branches):
        return [merged]
    left_out = set(map(id, constant))
    return [merged, *(branch for branch in branches if id(branch) not in left_out)]


@lru_cache(1_024)
def _unlimited(
    kinds: frozenset[type], objects: bool, arrays: bool, texts: bool, fractions: bool, numbers: bool
) -> frozenset[type]:
    """Leave out the types of values that a node limits. Most nodes of a schema limit the same types."""
    limited = {dict: objects, list: arrays, str: texts, float: fractions or numbers, int: numbers}
    return frozenset(kind for kind in kinds if not limited.get(kind, False))


def _kinds_of(keys: Collection[Key]) -> frozenset[type]:
    """Return the Python types of the values that have the given keys. A number's key stands for int and float."""
    return frozenset(kind for name, value in keys for kind in KINDS.get(name, (type(value),)))
