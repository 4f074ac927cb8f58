"""Tells which alternatives of an `anyOf` a value may fit, as far as that is quick to see."""

from collections.abc import Iterator
from typing import Any

from .nodes import SchemaNode
from .predicates import by_type, fits_alone

_ABSENT = object()
_SHAPES_MOST = 32  # For at most so many lists of names each alternative is asked whether it fits the names.
_LOOKED_AT_MOST = 32  # The most alternatives that are asked whether a single value fits them alone.


def alternatives(node: SchemaNode, values: list[Any]) -> Iterator[tuple[list[int] | None, tuple[SchemaNode, ...]]]:
    """Sort values by the alternatives of `anyOf` that they may fit.

    Yields the positions of some values, or None for all, with their alternatives. A value's type decides, then a
    required property whose constants differ between the alternatives, or the names of an object's properties.
    """
    if len(values) == 1:
        yield None, alternatives_of_one(node, values[0])
        return
    kinds = dict.fromkeys(map(type, values))
    of_kinds = by_type(values, kinds) if len(kinds) > 1 else dict.fromkeys(kinds)
    for kind, positions in of_kinds.items():
        branches = node.by_kind.get(kind, ())
        if kind is not dict or len(branches) < 2:
            yield positions, branches
        elif node.tag is not None:
            yield from _by_tag(node, values, positions)
        else:
            yield from _by_names(node, values, positions)


def alternatives_of_one(node: SchemaNode, value: Any) -> tuple[SchemaNode, ...]:
    """Return the alternatives that one value may fit."""
    branches = node.by_kind.get(type(value), ())
    if len(branches) < 2:
        return branches
    if type(value) is not dict:
        return _fitting(branches, value)
    if node.tag is not None:
        return _tagged(node, value)
    unnamed = _fitting(node.unnamed, value)
    return (*node.named.get(frozenset(value), ()), *unnamed) if node.named else unnamed


def _fitting(branches: tuple[SchemaNode, ...], value: Any) -> tuple[SchemaNode, ...]:
    """Leave out alternatives that one value does not fit alone. Of very many, which an older release accepted, none."""
    if len(branches) > _LOOKED_AT_MOST:
        return branches
    return tuple(branch for branch in branches if fits_alone(branch, value))


def _tagged(node: SchemaNode, value: dict[str, Any]) -> tuple[SchemaNode, ...]:
    """Return the alternatives that an object may fit by its `tag`."""
    assert node.tag is not None
    tag = value.get(node.tag, _ABSENT)
    if tag is _ABSENT:
        return node.untagged
    branch = node.by_tag.get(tag) if isinstance(tag, str) else None
    return () if branch is None else (branch,)


def _by_tag(
    node: SchemaNode, values: list[Any], positions: list[int] | None
) -> Iterator[tuple[list[int], tuple[SchemaNode, ...]]]:
    found = dict[tuple[int, ...], tuple[list[int], tuple[SchemaNode, ...]]]()
    for at in range(len(values)) if positions is None else positions:
        branches = _tagged(node, values[at])
        found.setdefault(tuple(map(id, branches)), ([], branches))[0].append(at)
    yield from found.values()


def _by_names(
    node: SchemaNode, values: list[Any], positions: list[int] | None
) -> Iterator[tuple[list[int] | None, tuple[SchemaNode, ...]]]:
    shapes = dict[tuple[str, ...], list[int]]()
    for at in range(len(values)) if positions is None else positions:
        shapes.setdefault(tuple(values[at]), []).append(at)
    named, unnamed = node.named, node.unnamed
    if len(shapes) > _SHAPES_MOST and not named:
        yield positions, unnamed
        return
    are_asked = len(shapes) <= _SHAPES_MOST and len(unnamed) <= _LOOKED_AT_MOST
    found = dict[tuple[int, ...], tuple[list[int], tuple[SchemaNode, ...]]]()
    for shape, of_shape in shapes.items():
        fitting = unnamed
        if are_asked and unnamed:
            names = dict.fromkeys(shape)
            fitting = tuple(branch for branch in unnamed if branch.members or fits_alone(branch, names))
        if named:
            fitting = (*named.get(frozenset(shape), ()), *fitting)
        found.setdefault(tuple(map(id, fitting)), ([], fitting))[0].extend(of_shape)
    for of_branches, fitting in found.values():
        yield (None if len(of_branches) == len(values) else of_branches), fitting
