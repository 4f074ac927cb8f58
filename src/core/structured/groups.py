"""Groups the values of an output by the schema node that they must fit, so that they are checked many at a time."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, chain, count, islice, repeat
from operator import itemgetter, sub
from typing import Any, NamedTuple

from .nodes import SchemaNode
from .pointers import Place, tokens_to

_OWNERS_EACH = 4  # If more than every fourth array is asked for, the owners of all items are listed first.


class Way(NamedTuple):
    """How the values of a group come from the values of the group above it.

    `positions` are those of the values above that the values below come from; None stands for all of them. For members
    of objects, `name` is their name. For items of arrays, `starts` has the position of the first item of each array.
    """

    above: "Group"
    positions: list[int] | None
    name: str | None = None
    starts: list[int] | None = None

    def above_of(self, positions: list[int]) -> list[int]:
        """Return the positions of the values above that the values below come from."""
        if self.starts is not None:
            starts = self.starts
            if len(positions) * _OWNERS_EACH > len(starts):
                lengths = map(sub, islice(starts, 1, None), starts)
                owners = list(chain.from_iterable(map(repeat, count(), lengths)))
                last = len(starts) - 1
                positions = [owners[at] if at < len(owners) else last for at in positions]
            else:
                positions = [bisect_right(starts, at) - 1 for at in positions]
        if self.positions is not None:
            above = self.positions
            positions = [above[at] for at in positions]
        return positions


class Merger(NamedTuple):
    """Groups whose values a group has, one group after the other, and the position of the first value of each."""

    groups: list["Group"]
    starts: list[int]

    def parted(self, positions: list[int]) -> Iterator[tuple["Group", list[int]]]:
        """Yield the groups that have the values at the given positions and the positions there."""
        by_part = dict[int, list[int]]()
        for at in positions:
            part = bisect_right(self.starts, at) - 1
            by_part.setdefault(part, []).append(at - self.starts[part])
        for part, some in by_part.items():
            yield self.groups[part], some


class ValuePlaces(NamedTuple):
    """The places of a group's values, which were checked singly above it."""

    of_values: list[Place]


class Group:
    """Some values of an output that one schema node must allow. A group without a way is where a check began."""

    __slots__ = ("node", "values", "way")

    def __init__(self, node: SchemaNode, values: list[Any], way: Way | Merger | ValuePlaces | None = None) -> None:
        self.node = node
        self.values = values
        self.way = way

    def part(self, node: SchemaNode, positions: list[int] | None) -> "Group":
        """Return the group of the values at the given positions, or of all, that the given node must allow."""
        values = self.values if positions is None else [self.values[at] for at in positions]
        return Group(node, values, Way(self, positions))

    def without(self, positions: list[int]) -> "Group":
        """Return the group without the values at the given positions."""
        left_out = set(positions)
        return self.part(self.node, [at for at in range(len(self.values)) if at not in left_out])

    def risen(self, positions: list[int]) -> set[int]:
        """Return which values of the group where the check began contain the values at the given positions.

        The place of a value that was checked singly begins with the number of the value where the check began.
        """
        found = set[int]()
        waiting: list[tuple[Group, list[int]]] = [(self, positions)]
        for group, below in waiting:
            way, at_top = group.way, below
            while isinstance(way, Way):
                at_top = way.above_of(at_top)
                way = way.above.way
            if way is None:
                found.update(at_top)
            elif isinstance(way, ValuePlaces):
                found.update(number_of(way.of_values[at]) for at in at_top)
            else:
                waiting += way.parted(at_top)
        return found

    def owners(self) -> list[int]:
        """Return for each value which value of the group where the check began contains it: see `risen`."""
        way, at_top = self.way, list(range(len(self.values)))
        while isinstance(way, Way):
            at_top = way.above_of(at_top)
            way = way.above.way
        if way is None:
            return at_top
        if isinstance(way, ValuePlaces):
            return [number_of(way.of_values[at]) for at in at_top]
        of_parts = [owner for part in way.groups for owner in part.owners()]
        return [of_parts[at] for at in at_top]

    def place(self, position: int) -> Place:
        """Return where in the output the value at a position is. The check must have begun at the output's root."""
        tokens = list[str | int]()
        way = self.way
        place: Place = None
        while way is not None:
            if isinstance(way, ValuePlaces):
                place = way.of_values[position]
                break
            if isinstance(way, Merger):
                part = bisect_right(way.starts, position) - 1
                position -= way.starts[part]
                way = way.groups[part].way
                continue
            if way.name is not None:
                tokens.append(way.name)
            elif way.starts is not None:
                tokens.append(position - way.starts[bisect_right(way.starts, position) - 1])
            (position,) = way.above_of([position])
            way = way.above.way
        for token in reversed(tokens):
            place = (place, token)
        return place


def number_of(place: Place) -> int:
    """Return the first token of a place: the number of the value where a check of several values began."""
    token = tokens_to(place)[0]
    assert isinstance(token, int)
    return token


def merged(groups: list[Group]) -> list[Group]:
    """Merge the groups of each node, whichever properties their values have."""
    by_node = dict[int, list[Group]]()
    for group in groups:
        by_node.setdefault(id(group.node), []).append(group)
    if len(by_node) == len(groups):
        return groups
    return [_merger(some) if len(some) > 1 else some[0] for some in by_node.values()]


def _merger(groups: list[Group]) -> Group:
    starts = list(accumulate((len(group.values) for group in groups), initial=0))
    starts.pop()
    values = list(chain.from_iterable(group.values for group in groups))
    return Group(groups[0].node, values, Merger(groups, starts))


def groups_inside(group: Group) -> list[Group]:
    """Return the groups of the values inside a group's objects and arrays that are not valid by their type alone."""
    node, values = group.node, group.values
    found = list[Group]()
    if not values:
        return found
    if node.properties and dict in node.kinds:
        positions = _positions_of(dict, values)
        if positions is None or positions:
            found += _members(group, positions, values if positions is None else [values[at] for at in positions])
    if node.items is not None and list in node.kinds and not node.items.is_any:
        positions = _positions_of(list, values)
        if positions is None or positions:
            found += _items(group, positions, values if positions is None else [values[at] for at in positions])
    return found


def children(node: SchemaNode, value: Any) -> list[tuple[SchemaNode, Any]]:
    """Return the values inside an object or array that are not valid by their type alone, with their nodes."""
    if type(value) is dict:
        return [
            (child, member)
            for name, member in value.items()
            if (child := node.properties.get(name)) is not None and type(member) not in child.plain
        ]
    items = node.items
    return [] if items is None else [(items, item) for item in value if type(item) not in items.plain]


def _positions_of(kind: type, values: list[Any]) -> list[int] | None:
    """Return the positions of the values of a Python type; None if all are."""
    if len(values) == 1:
        return None if type(values[0]) is kind else []
    found = [at for at, value in enumerate(values) if type(value) is kind]
    return None if len(found) == len(values) else found


def _items(group: Group, positions: list[int] | None, arrays: list[list[Any]]) -> list[Group]:
    items = group.node.items
    assert items is not None
    values = list(chain.from_iterable(arrays))
    if items.plain.issuperset(map(type, values)):
        return []
    starts = list(accumulate(map(len, arrays), initial=0))
    starts.pop()
    return [Group(items, values, Way(group, positions, starts=starts))]


def _members(group: Group, positions: list[int] | None, objects: list[dict[str, Any]]) -> list[Group]:
    """Make a group of the values of each name. Mostly all objects of a group have the same names."""
    properties = group.node.properties
    first = objects[0]
    found = list[Group]()
    if len(objects) == 1:
        return [
            Group(child, [member], Way(group, positions, name))
            for name, member in first.items()
            if (child := properties.get(name)) is not None and type(member) not in child.plain
        ]
    if set(map(len, objects)) != {len(first)}:
        return _various(group, positions, objects)
    try:
        for name in first:
            column = list(map(itemgetter(name), objects))
            child = properties.get(name)
            if child is not None and not child.plain.issuperset(map(type, column)):
                found.append(Group(child, column, Way(group, positions, name)))
    except KeyError:
        return _various(group, positions, objects)
    return found


def _various(group: Group, positions: list[int] | None, objects: list[dict[str, Any]]) -> list[Group]:
    """Make a group of the values of each name, where objects have different names."""
    properties = group.node.properties
    columns = dict[str, tuple[list[Any], list[int]]]()
    for at, one in enumerate(objects):
        for name, member in one.items():
            child = properties.get(name)
            if child is not None and type(member) not in child.plain:
                column = columns.get(name)
                if column is None:
                    column = columns[name] = ([], [])
                column[0].append(member)
                column[1].append(at if positions is None else positions[at])
    return [Group(properties[name], values, Way(group, owners, name)) for name, (values, owners) in columns.items()]
