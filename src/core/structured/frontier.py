"""The values of one level of an output: in groups where many must fit one schema node, and singly where few do.

A group of a single value takes several times as long as a single value. So an output whose values nearly all have
schema nodes of their own is checked value by value.
"""

from collections.abc import Iterator
from typing import Any

from .groups import Group, ValuePlaces, Way, groups_inside, merged
from .nodes import SchemaNode
from .pointers import LaterPlace, Place

# A value that its schema node must allow, and its place.
type Single = tuple[SchemaNode, Any, Place]

_TOGETHER_LEAST = 8  # From so many values for one node on, a group takes less time than single values.


class Frontier:
    """The values of one level that are still to check. Values may be added to a frontier while it is gone through."""

    def __init__(self, singles: list[Single], groups: list[Group]) -> None:
        self.singles = singles
        self.groups = groups
        if len(singles) >= _TOGETHER_LEAST * len({id(node) for node, _, _ in singles}):
            self._gather()

    def _gather(self) -> None:
        """Make groups of the single values."""
        by_node = dict[int, tuple[SchemaNode, list[Any], list[Place]]]()
        for node, value, place in self.singles:
            some = by_node.setdefault(id(node), (node, [], []))
            some[1].append(value)
            some[2].append(place)
        self.singles = []
        self.groups = [
            *self.groups,
            *(Group(node, values, ValuePlaces(places)) for node, values, places in by_node.values()),
        ]


class Deeper:
    """Collects the values inside the values of one level."""

    def __init__(self) -> None:
        self._singles = list[Single]()
        self._groups = list[Group]()

    def add_inside(self, single: Single) -> None:
        """Add the values inside a single object or array that are not valid by their type alone."""
        node, value, place = single
        if type(value) is dict:
            properties = node.properties
            if properties and dict in node.kinds:
                for name, member in value.items():
                    child = properties.get(name)
                    if child is not None and type(member) not in child.plain:
                        self._singles.append((child, member, (place, name)))
        elif type(value) is list:
            items = node.items
            if items is None or list not in node.kinds or items.plain.issuperset(map(type, value)):
                return
            if len(value) < _TOGETHER_LEAST:
                self._singles += [(items, item, (place, at)) for at, item in enumerate(value)]
            else:
                above = Group(node, [value], ValuePlaces([place]))
                self._groups.append(Group(items, value, Way(above, None, starts=[0])))

    def add_group(self, group: Group) -> None:
        """Add the values inside a group's values that are not valid by their type alone."""
        self._groups += groups_inside(group)

    def frontier(self) -> Frontier:
        """Return the next level."""
        groups = list[Group]()
        for group in merged(self._groups):
            if len(group.values) < _TOGETHER_LEAST:
                self._singles += _singly(group)
            else:
                groups.append(group)
        return Frontier(self._singles, groups)


def _singly(group: Group) -> Iterator[Single]:
    return ((group.node, value, LaterPlace(group, at)) for at, value in enumerate(group.values))
