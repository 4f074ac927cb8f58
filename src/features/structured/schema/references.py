"""Replaces each `$ref` in a compiled schema by the node that it names, and refuses a schema that names only itself."""

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

from .keywords import refused
from .nodes import SchemaNode
from .pointers import tokens_of

_REMOTE = "Only references within the schema are supported, such as `#/$defs/…`."
_IDLE = "This schema refers to itself without a property or an item in between, so it says nothing."


def link(
    document: object,
    nodes: list[SchemaNode],
    by_schema: dict[int, SchemaNode],
    check: Callable[[SchemaNode], None] | None,
) -> SchemaNode:
    """Resolve all references of a schema, and call `settle` on its nodes. Returns its root. Raises SchemaRefused.

    `check` is called for each settled node with an `anyOf`, after those of its branches that have one. `by_schema` has
    the node of each schema in the document, by the schema's Python `id`. `link` does not recurse.
    """
    referring = [node for node in nodes if node.ref is not None]
    targets = {id(node): _target(document, by_schema, node) for node in referring}
    real = {id(node): _followed(node, targets) for node in referring}
    if real:
        _relink(nodes, real)
    with_branches = list[SchemaNode]()
    for node in nodes:
        if node.branches:
            with_branches.append(node)
        elif node.ref is None:
            node.settle()
    for node in _branches_first(with_branches):
        node.settle()
        if check is not None:
            check(node)
    return real.get(id(nodes[0]), nodes[0])


def _relink(nodes: list[SchemaNode], real: dict[int, SchemaNode]) -> None:
    """Replace each node with a `$ref`, wherever it stands in another node, by the node that it refers to."""
    for node in nodes:
        if node.properties:
            node.properties = {name: real.get(id(child), child) for name, child in node.properties.items()}
        if node.items is not None:
            node.items = real.get(id(node.items), node.items)
        if node.branches:
            node.branches = tuple(real.get(id(branch), branch) for branch in node.branches)


def _target(document: object, by_schema: dict[int, SchemaNode], node: SchemaNode) -> SchemaNode:
    """Find the node that the `$ref` of a node names."""
    assert node.ref is not None
    path = (node.path, "$ref")
    tokens = tokens_of(unquote(node.ref[1:])) if node.ref.startswith("#") else None
    if tokens is None:
        raise refused(path, _REMOTE)
    found: object = document
    for token in tokens:
        found = _member(found, token)
    named = by_schema.get(id(found))
    if named is None:
        raise refused(path, "The reference names no schema of this document.")
    return named


def _member(value: object, token: str) -> object:
    """Return the member of an object or array that a pointer's token names, or None if it has no such member."""
    if isinstance(value, dict):
        return value.get(token)
    is_index = token.isascii() and token.isdigit() and len(token) <= 5
    return value[int(token)] if isinstance(value, list) and is_index and int(token) < len(value) else None


def _followed(node: SchemaNode, targets: dict[int, SchemaNode]) -> SchemaNode:
    """Follow references from a node to the first one without `$ref`, to which all nodes on the way then refer."""
    passed = dict[int, SchemaNode]()
    while (target := targets.get(id(node))) is not None:
        if id(node) in passed:
            raise refused((next(iter(passed.values())).path, "$ref"), _IDLE)
        passed[id(node)] = node
        node = target
    targets.update(dict.fromkeys(passed, node))
    return node


def _branches_first(nodes: Iterable[SchemaNode]) -> Iterator[SchemaNode]:
    """Yield each of the nodes that have an `anyOf` once, after all its branches that have one.

    Raises SchemaRefused if a node is a branch of itself.
    """
    done, open_ids = set[int](), set[int]()
    for root in nodes:
        if id(root) in done:
            continue
        if not any(branch.branches for branch in root.branches):
            done.add(id(root))
            yield root
            continue
        open_ids.add(id(root))
        waiting = [(root, _with_branches(root))]
        while waiting:
            node, branches = waiting[-1]
            index, branch = next(branches, (0, None))
            if branch is None:
                waiting.pop()
                open_ids.discard(id(node))
                done.add(id(node))
                yield node
            elif id(branch) in open_ids:
                raise refused(((node.path, "anyOf"), index), _IDLE)
            elif id(branch) not in done:
                open_ids.add(id(branch))
                waiting.append((branch, _with_branches(branch)))


def _with_branches(node: SchemaNode) -> Iterator[tuple[int, SchemaNode]]:
    return ((index, branch) for index, branch in enumerate(node.branches) if branch.branches)
