"""The fields of a submission that form its outputs: output schema, join rules, and what a failed chunk causes.

The native API and `/v1` both have them. `WantedOutput` checks the rules that pydantic cannot express.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from ...kernel.api.base.fields import NO_NUL, compact_json, size_flaw
from ...kernel.api.base.problems import NOT_JOINABLE, UNSUPPORTED_SCHEMA, FieldError, ProblemKind, Refusal
from ...kernel.api.tasks.submission import TaskFields
from ...kernel.domain import limits
from ...kernel.domain.errors import NotJoinable
from ...kernel.domain.settings import Settings
from ...kernel.domain.structure import GAP_SHARE_DEFAULT, LongText, Structure
from ...kernel.domain.task import Reduce
from ...kernel.work.submission import TaskRequest

# The JSON Schema of an output schema in `/openapi.json`, which states only that the root is an object.
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


class StructuredFields(TaskFields):
    """A body with the fields that form the outputs."""

    output_schema: dict[str, object] | None = Field(
        None,
        description="A JSON Schema whose root is an object: each output, and the result, is a JSON object that it "
        f"allows. Of the subset that `docs/structured-output.md` lists; at most {limits.SCHEMA_BYTES_MOST} bytes as "
        "compact UTF-8 JSON.",
        json_schema_extra=SCHEMA_SHAPE,
    )
    strict: bool | None = Field(
        None,
        description="OpenAI's strict rule for `outputSchema`: every property is required, and `additionalProperties` "
        "is false. By default true.",
    )
    join: JoinRules | None = JOIN
    on_chunk_failure: OnChunkFailure | None = ON_CHUNK_FAILURE
    max_gap_share: GapShare | None = MAX_GAP_SHARE

    def flaws(self, settings: Settings) -> Iterator[FieldError]:
        """Find also the fields that would have no effect."""
        yield from super().flaws(settings)
        yield from self._wanted().flaws()

    def check(self) -> None:
        """Check the output schema."""
        super().check()
        self._wanted().check("outputSchema", "join")

    def request(self) -> TaskRequest:
        """Make the task's request with the form of its outputs."""
        request, wanted = super().request(), self._wanted()
        return replace(
            request,
            options=replace(request.options, structure=wanted.structure(), long_text=wanted.long_text()),
            output_schema=wanted.stored_schema(),
            join_rules=self.join or {},
        )

    def _wanted(self) -> "WantedOutput":
        return WantedOutput(
            schema=self.output_schema,
            strict=self.strict,
            reduce=self.reduce or Reduce.CONCAT,
            join=self.join,
            on_chunk_failure=self.on_chunk_failure,
            max_gap_share=self.max_gap_share,
        )


class WantedOutput(NamedTuple):
    """The fields of a submission that form its outputs. `name` is the schema's name. None means the default."""

    schema: Mapping[str, object] | None
    strict: bool | None
    reduce: Reduce
    join: Mapping[str, str] | None
    on_chunk_failure: OnChunkFailure | None
    max_gap_share: float | None
    name: str | None = None

    def structure(self) -> Structure | None:
        """Return the options of a task with a schema or with gaps, None for any other task."""
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

    def long_text(self) -> LongText | None:
        """Return the options for long texts that the checked schema sets: whether it has quotes."""
        if self.schema is None:
            return None
        from .schema.schema import has_quotes  # noqa: PLC0415 - only such tasks need it

        return LongText(quotes=True) if has_quotes(self.schema) else None

    def stored_schema(self) -> str | None:
        """Write the output schema as it is stored: compact JSON, with its fields in the client's order."""
        return None if self.schema is None else compact_json(self.schema)

    def flaws(self) -> Iterator[FieldError]:
        """Find fields that would have no effect: they are refused, and not ignored."""
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
        """Check the output schema, and with `concat` whether its outputs can be joined.

        Raises Refusal (422), which names the wrong field, and the wrong place in it as a JSON pointer.
        """
        if self.schema is None:
            return
        from .joining import joiner_for  # noqa: PLC0415 - only such tasks need it
        from .schema.keywords import SchemaRefused  # noqa: PLC0415
        from .schema.schema import parse_schema  # noqa: PLC0415

        try:
            schema = parse_schema(dict(self.schema), strict=self.strict is not False)
            if self.reduce is Reduce.CONCAT:
                joiner_for(schema, self.join or {})
        except SchemaRefused as error:
            raise _refusal(UNSUPPORTED_SCHEMA, schema_field, error.pointer, error.reason) from None
        except NotJoinable as error:
            raise _refusal(NOT_JOINABLE, join_field, error.pointer, error.reason) from None


def _refusal(kind: ProblemKind, field: str, pointer: str, reason: str) -> Refusal:
    """Make the refusal of a schema or a join rule."""
    message = f"{pointer or 'the root'}: {reason}"
    return Refusal(kind, f"{field}: {message}", [FieldError(field, message, pointer)])
