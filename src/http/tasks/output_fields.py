"""The fields of a submission that form its outputs: a schema, how outputs are joined, and what a failed chunk does.

Both APIs have them. The rules that pydantic cannot express are here. What reads a schema is imported with the first
task that has one.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from ...core import limits
from ...core.structure import GAP_SHARE_DEFAULT, Structure
from ...core.task import Reduce
from ..base.fields import NO_NUL, compact_json, size_flaw
from ..base.problems import NOT_JOINABLE, UNSUPPORTED_SCHEMA, FieldError, ProblemKind, Refusal

# What OpenAPI says of a schema: the first of the rules that it must keep.
SCHEMA_SHAPE: Final[dict[str, Any]] = {
    "properties": {"type": {"const": "object"}},
    "required": ["type"],
    "examples": [
        {
            "type": "object",
            "properties": {"people": {"type": "array", "items": {"type": "string"}}},
            "required": ["people"],
            "additionalProperties": False,
        }
    ],
}

JoinRules = dict[
    Annotated[str, Field(json_schema_extra=NO_NUL)],
    Literal["first", "last", "sum", "min", "max", "any", "all", "union"],
]
OnChunkFailure = Literal["fail", "gap"]
GapShare = Annotated[float, Field(ge=0, le=1)]

JOIN: Final[Any] = Field(
    None,
    description="How `concat` joins outputs of a schema: a rule for each field outside arrays, by its pointer. "
    "Arrays are joined in order; `union` drops repeats. "
    f"At most {limits.JOIN_BYTES_MOST} bytes as compact UTF-8 JSON.",
    examples=[{"/total": "sum", "/title": "first", "/people": "union"}],
)
ON_CHUNK_FAILURE: Final[Any] = Field(
    None,
    description="`fail` (default): a chunk that fails for good ends the task. `gap`: it leaves a gap, and the task "
    "completes without it.",
)
MAX_GAP_SHARE: Final[Any] = Field(
    None,
    description="With `onChunkFailure: gap`: the share of the characters that gaps may have. More fails the task with "
    f"`too_many_gaps`. By default {GAP_SHARE_DEFAULT}.",
)


class WantedOutput(NamedTuple):
    """What a submission says about its outputs. `name` is the schema's name. None: the default."""

    schema: Mapping[str, object] | None
    strict: bool | None
    reduce: Reduce
    join: Mapping[str, str] | None
    on_chunk_failure: OnChunkFailure | None
    max_gap_share: float | None
    name: str | None = None

    def structure(self) -> Structure | None:
        """Give the options of a structured task, None for a plain one."""
        has_schema, gaps = self.schema is not None, self.on_chunk_failure == "gap"
        if not (has_schema or gaps):
            return None
        return Structure(
            has_schema=has_schema,
            strict=self.strict is not False,
            name=self.name,
            gaps=gaps,
            max_gap_share=GAP_SHARE_DEFAULT if self.max_gap_share is None else self.max_gap_share,
        )

    def stored_schema(self) -> str | None:
        """Write the schema as it is stored: with its names in the client's order."""
        return None if self.schema is None else compact_json(self.schema)

    def flaws(self) -> Iterator[FieldError]:
        """Find fields that would have no effect: none is dropped in silence."""
        if self.schema is None:
            for name, value in (("strict", self.strict), ("join", self.join)):
                if value is not None:
                    yield FieldError(name, "has no effect without an output schema")
        elif self.join is not None and self.reduce is not Reduce.CONCAT:
            yield FieldError("join", "has an effect only with reduce `concat`")
        if self.max_gap_share is not None and self.on_chunk_failure != "gap":
            yield FieldError("maxGapShare", "has no effect without onChunkFailure `gap`")
        yield from size_flaw("join", self.join, limits.JOIN_BYTES_MOST)

    def check(self, schema_field: str, join_field: str) -> None:
        """Check the schema, and for `concat` how outputs are joined.

        Raises Refusal: 422 that names the field, and the place in it as a JSON pointer.
        """
        if self.schema is None:
            return
        from ...core.structured.joining import NotJoinable, join_plan  # noqa: PLC0415 - only such tasks need it
        from ...core.structured.schema import SchemaRefused, parse_schema  # noqa: PLC0415

        try:
            schema = parse_schema(dict(self.schema), strict=self.strict is not False)
            if self.reduce is Reduce.CONCAT:
                join_plan(schema, self.join or {})
        except SchemaRefused as error:
            raise _refusal(UNSUPPORTED_SCHEMA, schema_field, error.pointer, error.reason) from None
        except NotJoinable as error:
            raise _refusal(NOT_JOINABLE, join_field, error.pointer, error.reason) from None


def _refusal(kind: ProblemKind, field: str, pointer: str, reason: str) -> Refusal:
    """Refuse a schema or a rule. The pointer has the client's own names, because nothing else names the place."""
    message = f"{pointer or 'the root'}: {reason}"
    return Refusal(kind, f"{field}: {message}", [FieldError(field, message, pointer)])
