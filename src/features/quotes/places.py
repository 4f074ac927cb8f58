"""Finds the fields of outputs that are quotes, by the output schema. Pure, without recursion."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from ..structured.schema.check import AlternativesSearch, alternatives
from ..structured.schema.nodes import SchemaNode
from ..structured.schema.pointers import Path
from ..structured.schema.schema import OutputSchema


class QuoteField(NamedTuple):
    """A field that is a quote: the object or array that has it, its name or index there, and its place."""

    inside: Any
    token: str | int
    place: Path


# Nodes that a value fits, the value, and where it is.
type _Waiting = tuple[tuple[SchemaNode, ...], Any, Any, Path]


class QuoteFields:
    """The fields of one schema that are quotes."""

    def __init__(self, schema: OutputSchema) -> None:
        self._root = schema.root
        self._leading = _leading(schema.root)

    def of(self, value: object) -> Iterator[QuoteField]:
        """Yield the texts of a value that are quotes, in the order of the value. The schema allows the value.

        If several schemas of `anyOf` allow a part of the value, a text is a quote if one of them says so. Raises
        `SearchEnded` if that takes too much effort to find out.
        """
        search = AlternativesSearch()
        waiting: list[_Waiting] = [((self._root,), value, None, None)]
        while waiting:
            asked, one, inside, place = waiting.pop()
            nodes = self._allowing(asked, one, search)
            if isinstance(one, str):
                if place is not None and any(node.is_quote for node in nodes):
                    yield QuoteField(inside, place[1], place)
                continue
            members = list[_Waiting]()
            if isinstance(one, dict):
                for name, member in one.items():
                    found = tuple(node.properties[name] for node in nodes if name in node.properties)
                    if found:
                        members.append((found, member, one, (place, name)))
            elif isinstance(one, list):
                items = tuple(node.items for node in nodes if node.items is not None)
                members = [(items, item, one, (place, at)) for at, item in enumerate(one)] if items else []
            waiting += reversed(members)

    def _allowing(self, nodes: tuple[SchemaNode, ...], value: Any, search: AlternativesSearch) -> list[SchemaNode]:
        """Return those of the nodes, and of the schemas of their `anyOf` that allow the value, that lead to quotes."""
        found = [node for node in nodes if id(node) in self._leading]
        for node in found:  # the list grows
            if node.branches:
                among = alternatives(node, value)
                leading = [one for one in among if id(one) in self._leading]
                found += leading if len(among) == 1 else [one for one in leading if search.fits(one, value)]
        return found


def _leading(root: SchemaNode) -> frozenset[int]:
    """Return the ids of the nodes that are quotes, or that have some inside."""
    known, around = {id(root): root}, dict[int, list[SchemaNode]]()
    nodes = [root]
    for node in nodes:  # the list grows
        for inner in chain(node.properties.values(), node.branches, () if node.items is None else (node.items,)):
            around.setdefault(id(inner), []).append(node)
            if id(inner) not in known:
                known[id(inner)] = inner
                nodes.append(inner)
    leading = {id(node): node for node in nodes if node.is_quote}
    reached = list(leading.values())
    for node in reached:  # the list grows
        for outer in around.get(id(node), ()):
            if id(outer) not in leading:
                leading[id(outer)] = outer
                reached.append(outer)
    return frozenset(leading)
