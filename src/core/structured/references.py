"""Replaces each `$ref` in a compiled schema by the node that it names, and refuses a schema that names only itself."""

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from .keywords import refused
from .nodes import SchemaNode
from .pointers import tokens_of

_REMOTE = "Only references within the schema are supported: `#`, `#/$defs/…` and `#/definitions/…`."
_IDLE = "This schema refers to itself without a property or an item in between, so it says nothing."


def link(document: object, nodes: list[SchemaNode], by_schema: dict[int, SchemaNode]) -> SchemaNode:
    """Resolve all references of a schema, call `settle` on its nodes, and return its root. Raises SchemaRefused.

    `by_schema` has the node of each schema in the document, by the schema's Python `id`. `link` does not recurse.
    """
    targets = {id(node): _target(document, by_schema, node) for node in nodes if node.ref is not None}
    real = {id(node): _followed(node, targets) for node in nodes}
    for node in nodes:
        if node.properties:
            node.properties = {name: real[id(child)] for name, child in node.properties.items()}
        if node.items is not None:
            node.items = real[id(node.items)]
        node.branches = tuple(real[id(branch)] for branch in node.branches)
    for node in _branches_first(real.values()):
        node.settle()
    return real[id(nodes[0])]


def _target(document: object, by_schema: dict[int, SchemaNode], node: SchemaNode) -> SchemaNode:
    """Find the node that the `$ref` of a node names."""
    assert node.ref is not None
    place = (node.place, "$ref")
    tokens = tokens_of(unquote(node.ref[1:])) if node.ref.startswith("#") else None
    if tokens is None or (tokens and tokens[0] not in {"$defs", "definitions"}):
        raise refused(place, _REMOTE)
    found: object = document
    for token in tokens:
        found = _member(found, token)
    named = by_schema.get(id(found))
    if named is None:
        raise refused(place, "The reference names no schema of this document.")
    return named


def _member(value: object, token: str) -> object:
    """Return the member of an object or array that a pointer's token names, or None if it has no such member."""
    if isinstance(value, dict):
        return value.get(token)
    is_index = token.isascii() and token.isdigit() and len(token) <= 5
    return value[int(token)] if isinstance(value, list) and is_index and int(token) < len(value) else None


def _followed(node: SchemaNode, targets: dict[int, SchemaNode]) -> SchemaNode:
    """Follow references from a node to the first node without `$ref`.

    Each node that was passed on the way then refers directly to the node that was found.
    """
    passed = dict[int, SchemaNode]()
    while (target := targets.get(id(node))) is not None:
        if id(node) in passed:
            raise refused((next(iter(passed.values())).place, "$ref"), _IDLE)
        passed[id(node)] = node
        node = target
    targets.update(dict.fromkeys(passed, node))
    return node


def _branches_first(nodes: Iterable[SchemaNode]) -> Iterator[SchemaNode]:
    """Yield each node once, after all its `anyOf` branches. Raises SchemaRefused if a node is a branch of itself."""
    done, open_ids = set[int](), set[int]()
    for root in nodes:
        if id(root) in done:
            continue
        if not root.branches:
            done.add(id(root))
            yield root
            continue
        open_ids.add(id(root))
        waiting = [(root, iter(enumerate(root.branches)))]
        while waiting:
            node, branches = waiting[-1]
            index, branch = next(branches, (0, None))
            if branch is None:
                waiting.pop()
                open_ids.discard(id(node))
                done.add(id(node))
                yield node
            elif id(branch) in open_ids:
                raise refused(((node.place, "anyOf"), index), _IDLE)
            elif id(branch) not in done:
                open_ids.add(id(branch))
                waiting.append((branch, iter(enumerate(branch.branches))))
