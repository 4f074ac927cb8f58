"""Compiles an output schema, a document of the supported subset of JSON Schema, so that outputs can be checked."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ....kernel.domain.limits import (
    SCHEMA_ALIKE_MOST,
    SCHEMA_ALTERNATIVES_MOST,
    SCHEMA_ENUM_PARTS_MOST,
    SCHEMA_ENUM_VALUES_MOST,
    SCHEMA_LEVELS_MOST,
    SCHEMA_PROPERTIES_MOST,
)
from .document import check_document
from .equality import size_of
from .keywords import CONSTRAINTS, ONCEOVER, ROOT_ONLY, is_annotation, is_unsent, refused, unknown
from .nodes import SchemaNode
from .pointers import Path
from .references import link

_NESTING: Final = frozenset({"object", "array"})  # The types whose values contain values.
_NULL: Final = {"type": "null"}
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})
_ALIKE: Final = (
    f"More than {SCHEMA_ALIKE_MOST} schemas of this `anyOf` are for values of one type, and nothing tells them apart: "
    "give them a property with a different `const` each."
)


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A compiled output schema. `document` is the schema as the client gave it, and must not be changed."""

    document: dict[str, object]
    root: SchemaNode = field(repr=False, compare=False)


def parse_schema(document: object, *, strict: bool) -> OutputSchema:
    """Compile the document of an output schema, as `json.loads` has parsed it. `strict` is OpenAI's strict rule.

    Raises SchemaRefused for the first thing in the document that is not supported.
    """
    if not isinstance(document, dict):
        raise refused(None, "A schema is a JSON object.")
    check_document(document)
    return _compiled(document, _Compiler(strict=strict, is_new=True))


def read_schema(text: str) -> OutputSchema:
    """Compile an output schema that was accepted before and stored as JSON."""
    return accepted_schema(json.loads(text))


def accepted_schema(document: dict[str, object]) -> OutputSchema:
    """Compile the document of an output schema that was accepted before, perhaps by a release with other limits."""
    return _compiled(document, _Compiler(strict=False, is_new=False))


def _compiled(document: dict[str, object], compiler: "_Compiler") -> OutputSchema:
    compiler.schema(document, None, 0)
    if document.get("type") != "object":
        raise refused((None, "type") if "type" in document else None, 'The root needs `"type": "object"`.')
    counted = _Alternatives() if compiler.is_new else None
    root = link(document, compiler.nodes, compiler.by_schema, counted.add if counted else None)
    return OutputSchema(document, root)


def sent_document(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the document of an accepted schema as it is sent to models: without keywords that have no effect."""
    sent = dict[str, object]()
    for name, value in schema.items():
        if name in _SUBSCHEMAS and isinstance(value, dict):
            named = name != "items"
            sent[name] = {key: sent_document(one) for key, one in value.items()} if named else sent_document(value)
        elif name == "anyOf" and isinstance(value, list):
            sent[name] = [sent_document(one) for one in value]
        elif not is_unsent(name):
            sent[name] = value
    return sent


def has_quotes(schema: Mapping[str, object]) -> bool:
    """Whether a text that an accepted schema describes is a quote. `default`, `enum` and the like describe none."""
    waiting = [schema]
    for one in waiting:  # the list grows
        if one.get(ONCEOVER) == "quote":
            return True
        for name in _SUBSCHEMAS.keys() & one.keys():
            inner: Any = one[name]
            waiting += inner if name == "anyOf" else [inner] if name == "items" else inner.values()
    return False


class _Compiler:
    """Makes a `SchemaNode` of each schema in one document, and recurses no deeper than the document.

    The limits of alternatives and of `enum` bind only a schema that `is_new`, of a submission.
    """

    def __init__(self, *, strict: bool, is_new: bool) -> None:
        self._strict = strict
        self.is_new = is_new
        self.nodes: list[SchemaNode] = []
        # The node of each schema in the document, by the schema's Python `id`. A document that no parser made may use
        # one dict in two places.
        self.by_schema: dict[int, SchemaNode] = {}
        # The one node of all schemas `{}`, which may be thousands, by (), and of all with nothing but a certain `$ref`,
        # or a certain `type` that has no values inside.
        self._shareable: dict[tuple[str, ...], SchemaNode] = {}
        self._properties = 0
        self._enum_values = 0
        self._enum_parts = 0
        self._alternatives = 0

    def schema(self, schema: object, path: Path, outer: int) -> SchemaNode:
        """Compile the schema of a value that is inside `outer` levels of objects and arrays."""
        if not isinstance(schema, dict):
            raise refused(path, "A schema is a JSON object.")
        if len(schema) < 2 and (shared := self._shared(schema)) is not None:
            self.by_schema[id(schema)] = shared
            return shared
        node = SchemaNode(path)
        self.nodes.append(node)
        self.by_schema[id(schema)] = node
        if not schema and not self._strict:
            self._shareable[()] = node
            return node
        subschemas = []
        for name, value in schema.items():
            if name in _SUBSCHEMAS:
                subschemas.append(name)
            else:
                self._keyword(node, schema, name, value, (path, name))
        if node.ref is not None:
            self._reference(node, node.ref, schema)
        is_container = "properties" in schema or "items" in schema or not _NESTING.isdisjoint(node.type_names)
        inner = outer + is_container
        if inner > SCHEMA_LEVELS_MOST:
            raise refused(path, f"Objects and arrays are nested more than {SCHEMA_LEVELS_MOST} levels deep.")
        for name in subschemas:
            _SUBSCHEMAS[name](self, node, schema[name], (path, name), outer if name == "anyOf" else inner)
        if self._strict:
            _check_strict(node, schema)
        return _checked_quote(node, schema)

    def _shared(self, schema: dict[str, object]) -> SchemaNode | None:
        """Return the node of an equal schema before, if the schema is `{}`, a `$ref` or a scalar `type`."""
        for name, value in schema.items():
            return self._shareable.get((name, value)) if isinstance(value, str) else None
        return self._shareable.get(())

    def _keyword(self, node: SchemaNode, schema: dict[str, object], name: str, value: object, path: Path) -> None:
        """Compile one keyword of a schema that contains no further schema."""
        if is_annotation(name) or (name == "additionalProperties" and value is True and not self._strict):
            return
        is_misplaced = (name in ROOT_ONLY and node.path is not None) or (name == "pattern" and "format" not in schema)
        if name == "$ref":
            if not isinstance(value, str):
                raise refused(path, "A reference is a text.")
            node.ref = value
        elif name not in CONSTRAINTS or is_misplaced:
            raise unknown(name, path)
        else:
            if self.is_new and name in {"enum", "const"}:
                self._count_values(value if name == "enum" and isinstance(value, list) else [value], path)
            CONSTRAINTS[name](node, value, path)
            if name == "type" and len(schema) == 1 and isinstance(value, str) and value not in _NESTING:
                self._shareable[name, value] = node

    def _count_values(self, values: list[object], path: Path) -> None:
        """Refuse the values of an `enum` or a `const` that exceed a limit."""
        self._enum_values += len(values)
        if self._enum_values > SCHEMA_ENUM_VALUES_MOST:
            raise refused(path, f"The schema has more than {SCHEMA_ENUM_VALUES_MOST:,} values of `enum` and `const`.")
        self._enum_parts += size_of(values) - 1
        if self._enum_parts > SCHEMA_ENUM_PARTS_MOST:
            reason = f"The values of `enum` and `const` consist of more than {SCHEMA_ENUM_PARTS_MOST:,} values."
            raise refused(path, reason)

    def _reference(self, node: SchemaNode, ref: str, schema: dict[str, object]) -> None:
        """Refuse constraints beside `$ref`: drafts of JSON Schema, and servers, disagree about what they mean."""
        if len(schema) == 1:
            self._shareable["$ref", ref] = node
            return
        beside = schema.keys() - ROOT_ONLY - _DEFINITIONS - {"$ref"}
        name = next((name for name in schema if name in beside and not is_annotation(name)), None)
        if name is not None:
            raise refused(
                (node.path, name), "Beside `$ref` only `title`, `description`, `default` and `examples` may stand."
            )

    def properties(self, node: SchemaNode, value: object, path: Path, outer: int) -> None:
        """Compile `properties`."""
        if not isinstance(value, dict):
            raise refused(path, "`properties` is an object.")
        self._properties += len(value)
        if self._properties > SCHEMA_PROPERTIES_MOST:
            raise refused(path, f"The schema has more than {SCHEMA_PROPERTIES_MOST:,} properties.")
        node.properties = {name: self.schema(child, (path, name), outer) for name, child in value.items()}

    def items(self, node: SchemaNode, value: object, path: Path, outer: int) -> None:
        """Compile `items`."""
        node.items = self.schema(value, path, outer)

    def branches(self, node: SchemaNode, value: object, path: Path, outer: int) -> None:
        """Compile `anyOf`, whose schemas apply to the same value as the one around it, and are not a level deeper."""
        if not isinstance(value, list) or not value:
            raise refused(path, "`anyOf` is a list of at least one schema.")
        self._alternatives += len(value) - value.count(_NULL)
        if self.is_new and self._alternatives > SCHEMA_ALTERNATIVES_MOST:
            reason = (
                f"The schema has more than {SCHEMA_ALTERNATIVES_MOST:,} schemas of `anyOf` for values besides null."
            )
            raise refused(path, reason)
        node.branches = tuple([self.schema(child, (path, index), outer) for index, child in enumerate(value)])

    def definitions(self, _node: SchemaNode, value: object, path: Path, _outer: int) -> None:
        """Compile `$defs` or `definitions`. Levels of objects and arrays are counted from 0 in each definition."""
        if not isinstance(value, dict):
            raise refused(path, "Definitions are an object.")
        for name, child in value.items():
            self.schema(child, (path, name), 0)


_SUBSCHEMAS: Final = {
    "properties": _Compiler.properties,
    "items": _Compiler.items,
    "anyOf": _Compiler.branches,
    "$defs": _Compiler.definitions,
    "definitions": _Compiler.definitions,
}


def _checked_quote(node: SchemaNode, schema: dict[str, object]) -> SchemaNode:
    """Refuse a quote that is no text or null, or that something else limits: the source's own text may not fit it."""
    if not node.is_quote:
        return node
    if set(node.type_names) != {"string", "null"}:
        raise refused((node.path, ONCEOVER), 'A quote needs `"type": ["string", "null"]`.')
    for name in schema:
        if name not in {"type", ONCEOVER} and not is_annotation(name):
            raise refused((node.path, name), "Beside a quote stand only its `type` and annotations.")
    return node


def _check_strict(node: SchemaNode, schema: dict[str, object]) -> None:
    """Check OpenAI's strict rule: objects require all their properties and allow no others, and arrays have `items`."""
    if node.ref is not None or (not node.type_names and (node.branches or node.members)):
        return
    if not node.type_names:
        raise refused(node.path, "`strict` needs a `type`: without it every value is allowed.")
    if dict in node.kinds:
        if not node.is_closed:
            raise refused(node.path, '`strict` needs `"additionalProperties": false` in every object.')
        for name in node.properties:
            if name not in node.required:
                raise refused(
                    ((node.path, "properties"), name),
                    "`strict` needs every property in `required`; allow null where a value may be missing.",
                )
        for index, name in enumerate(node.required):
            if name not in node.properties:
                raise refused(((node.path, "required"), index), "`required` names no property of the object.")
    if list in node.kinds and "items" not in schema:
        raise refused(node.path, "`strict` needs `items` in every array.")


class _Alternatives:
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
