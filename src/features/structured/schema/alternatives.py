"""Refuses an `anyOf` with more alternatives than may be searched: those that nothing tells apart at a glance."""

from collections import Counter
from typing import Final

from ....kernel.domain.limits import SCHEMA_ALIKE_MOST
from .keywords import refused
from .nodes import SchemaNode

_ALIKE: Final = (
    f"More than {SCHEMA_ALIKE_MOST} schemas of this `anyOf` are for values of one type, and nothing tells them apart: "
    "give them a property with a different `const` each."
)


class CountedAlternatives:
    """Counts the alternatives of a schema's `anyOf`, and refuses one for which a value may have to be tried too often.

    The checker distinguishes schemas by the type of their values; objects also by `tag`, and by the names of their
    properties where all are required and no others allowed. Schemas with nothing but `enum` or `const`, and a type, are
    not counted, because looking up a value in a set takes no search.
    """

    def __init__(self) -> None:
        self._known: dict[int, dict[type, int]] = {}

    def add(self, node: SchemaNode) -> None:
        """Count those of one settled node, after those of its branches that have an `anyOf`. Raises SchemaRefused."""
        if len(node.branches) == 1 and not node.branches[0].branches:
            self._known[id(node)] = dict.fromkeys(node.by_kind, 1)
            return
        counts = {kind: _counted(node, kind, self._known) for kind in node.by_kind}
        if max(counts.values(), default=0) > SCHEMA_ALIKE_MOST:
            raise refused((node.path, "anyOf"), _ALIKE)
        self._known[id(node)] = counts


def _counted(node: SchemaNode, kind: type, known: dict[int, dict[type, int]]) -> int:
    """Count the schemas with which a value of a Python type may have to be tried at most, for the `anyOf` of a node."""
    branches = node.by_kind[kind]
    if len(branches) == 1 and not branches[0].branches:
        return 1
    if kind is dict and node.tag is not None:
        return 1
    nested = sum(known[id(branch)].get(kind, 0) for branch in branches if branch.branches)
    flat = [branch for branch in branches if not branch.branches and not branch.is_constant]
    if kind is not dict:
        return max(nested + len(flat), 1)
    named = Counter(branch.required_names for branch in flat if branch.has_exact_names)
    return max(nested + len(flat) - named.total() + max(named.values(), default=0), 1)
