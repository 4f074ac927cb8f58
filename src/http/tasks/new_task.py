"""The body of `POST /api/tasks`: its fields, the checks that a JSON Schema cannot express, and the task's request."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import ConfigDict, Field

from ...core import limits
from ...core.files import FILE_ID_PATTERN
from ...core.settings import Settings
from ...core.task import Reduce, TaskOptions
from ...core.text.chunks import is_blank
from ...processing.task_request import TaskRequest
from ..base.fields import NO_CONTROLS, NO_NUL, Asked, Whole, checked, size_flaw
from ..base.problems import TOO_LARGE, FieldError, Refusal, field_refusal, named
from . import output_fields
from .output_fields import WantedOutput

NO_VISIBLE = "must have a visible character"


class ChunkOptions(Asked):
    """How the input is cut. Sizes are in Unicode code points."""

    max_chars: Annotated[int, Field(ge=1, le=limits.CHUNK_CHARS_MOST), Whole] | None = Field(
        None, description="The most characters in a chunk; by default the deployment's CHUNK_MAX_CHARS."
    )
    overlap_chars: Annotated[int, Field(ge=0, lt=limits.CHUNK_CHARS_MOST), Whole] | None = Field(
        None, description="How many characters of the previous chunk are repeated; less than maxChars, by default 0."
    )


class NewTaskFields(Asked):
    """The body of `POST /api/tasks`, with `input` or `inputFile`. An optional field that is null counts as absent."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["input"]}, {"required": ["inputFile"]}]})

    input: Annotated[str, Field(min_length=1, json_schema_extra=NO_NUL)] | None = Field(
        None,
        description="The text to analyse, with a visible character; at most MAX_INPUT_BYTES of UTF-8.",
    )
    input_file: Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})] | None = Field(
        None,
        description="In place of `input`: the id of an uploaded file of the purpose `user_data` with a text in UTF-8, "
        f"at most {limits.FILE_TEXT_BYTES_MOST} bytes. It needs the binding BLOBS. A task whose file cannot be read as "
        "text fails with `invalid_input`.",
    )
    instructions: (
        Annotated[str, Field(min_length=1, max_length=limits.INSTRUCTIONS_CHARS_MOST, json_schema_extra=NO_NUL)] | None
    ) = Field(None, description="What to do with each chunk.")
    reduce: Annotated[Reduce, Field(strict=False)] | None = Field(
        None,
        description="`concat` (default) joins the outputs with blank lines. `merge` makes one answer of them with "
        "further model calls. `none` keeps the list.",
    )
    chunk: ChunkOptions | None = None
    model: (
        Annotated[str, Field(min_length=1, max_length=limits.MODEL_CHARS_MOST, json_schema_extra=NO_CONTROLS)] | None
    ) = Field(None, description="Overrides the deployment's model; printable characters.")
    metadata: dict[str, object] | None = Field(
        None, description=f"Returned unchanged; at most {limits.METADATA_BYTES_MOST} bytes as compact UTF-8 JSON."
    )
    deadline_seconds: Annotated[float, Field(ge=1, le=limits.DEADLINE_SECONDS_MOST)] | None = Field(
        None,
        description="After this time an unfinished task fails with `deadline_exceeded`, and no further model call "
        "starts. A retry gives it the same time again.",
    )
    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST), Whole] | None = Field(
        None,
        description="The most model calls of the task, over all retries. A task that needs more fails with "
        "`budget_exhausted`, and its finished chunks stay readable. It must be at least the calls needed "
        "without failures. A retry may set another budget.",
    )

    max_output_tokens: Annotated[int, Field(ge=1, le=limits.OUTPUT_TOKENS_MOST), Whole] | None = Field(
        None,
        description="The most tokens that the model may write in each call; by default the deployment's "
        "AI_MAX_OUTPUT_TOKENS. It is sent under the name that the model's server knows.",
    )
    temperature: Annotated[float, Field(ge=0, le=limits.TEMPERATURE_MOST)] | None = Field(
        None, description="By default the model's own."
    )
    model_options: dict[str, object] | None = Field(
        None,
        description="Further fields of each request to the provider. The deployment's AI_MODEL_OPTIONS lists the "
        f"allowed ones. At most {limits.MODEL_OPTIONS_BYTES_MOST} bytes as compact UTF-8 JSON.",
    )

    output_schema: dict[str, object] | None = Field(
        None,
        description="A JSON Schema whose root is an object: each output, and the result, is a JSON object that it "
        f"allows. Of the subset that `docs/structured-output.md` lists; at most {limits.SCHEMA_BYTES_MOST} bytes as "
        "compact UTF-8 JSON.",
        json_schema_extra=output_fields.SCHEMA_SHAPE,
    )
    strict: bool | None = Field(
        None,
        description="OpenAI's strict rule for `outputSchema`: every property is required, and `additionalProperties` "
        "is false. By default true.",
    )
    join: output_fields.JoinRules | None = output_fields.JOIN
    on_chunk_failure: output_fields.OnChunkFailure | None = output_fields.ON_CHUNK_FAILURE
    max_gap_share: output_fields.GapShare | None = output_fields.MAX_GAP_SHARE

    def wanted(self) -> WantedOutput:
        """Return the fields that form the outputs."""
        return WantedOutput(
            schema=self.output_schema,
            strict=self.strict,
            reduce=self.reduce or Reduce.CONCAT,
            join=self.join,
            on_chunk_failure=self.on_chunk_failure,
            max_gap_share=self.max_gap_share,
        )

    def options(self) -> TaskOptions:
        """Return the fields that are stored with the task unchanged."""
        return TaskOptions(
            reduce=self.reduce or Reduce.CONCAT,
            model=self.model,
            metadata=self.metadata or {},
            deadline_ms=None if self.deadline_seconds is None else round(self.deadline_seconds * 1000),
            max_calls=self.max_model_calls,
            chunk_chars=self.chunk.max_chars if self.chunk else None,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            model_options=self.model_options or {},
            structure=self.wanted().structure(),
        )


def new_request(body: Mapping[str, object], settings: Settings) -> TaskRequest:
    """Check every field of the body of a request, and make the task's request from the body.

    Raises Refusal: 422 that names each wrong field, 413 for an input that is too large.
    """
    try:
        fields = checked(NewTaskFields, body)
    except Refusal as refusal:
        raise field_refusal([*_input_flaws(body), *refusal.errors]) from None
    if flaws := list(_flaws(fields, settings)):
        raise field_refusal(flaws)
    size = len((fields.input or "").encode())
    if size > settings.input_bytes:
        message = f"has {size} bytes of UTF-8, more than the {settings.input_bytes} of MAX_INPUT_BYTES"
        raise field_refusal([FieldError("input", message)], TOO_LARGE)
    fields.wanted().check("outputSchema", "join")
    return TaskRequest(
        text=fields.input or "",
        instructions=fields.instructions,
        overlap_chars=(fields.chunk.overlap_chars or 0) if fields.chunk else 0,
        options=fields.options(),
        output_schema=fields.wanted().stored_schema(),
        join_rules=fields.join or {},
    )


def _input_flaws(body: Mapping[str, object]) -> Iterator[FieldError]:
    """Find whether a body has no text, or two."""
    has_text, has_file = (body.get(name) is not None for name in ("input", "inputFile"))
    if not (has_text or has_file):
        yield FieldError("input", "is required, or inputFile")
    if has_text and has_file:
        yield FieldError("inputFile", "is set, and input too: use one of them")


def _flaws(fields: NewTaskFields, settings: Settings) -> Iterator[FieldError]:
    """Find the flaws of a body that its JSON Schema cannot express."""
    yield from _input_flaws({"input": fields.input, "inputFile": fields.input_file})
    if fields.input is not None and is_blank(fields.input):
        yield FieldError("input", NO_VISIBLE)
    yield from option_flaws(fields.chunk, fields.model, fields.model_options, settings)
    yield from size_flaw("metadata", fields.metadata, limits.METADATA_BYTES_MOST)
    yield from fields.wanted().flaws()


def option_flaws(
    chunk: ChunkOptions | None, model: str | None, model_options: Mapping[str, object] | None, settings: Settings
) -> Iterator[FieldError]:
    """Find the flaws of fields of both APIs that their JSON Schema cannot express."""
    if chunk and chunk.overlap_chars is not None:
        max_chars = chunk.max_chars if chunk.max_chars is not None else settings.chunk_chars
        if chunk.overlap_chars >= max_chars:
            yield FieldError("chunk.overlapChars", f"must be less than maxChars, which is {max_chars}")
    if model is not None and not model.isprintable():
        yield FieldError("model", "must have printable characters only")
    elif model is not None and settings.models and model not in settings.models:
        yield FieldError("model", f"must be one of {', '.join(settings.models)} (AI_MODELS)")
    yield from size_flaw("modelOptions", model_options, limits.MODEL_OPTIONS_BYTES_MOST)
    for name in model_options or {}:
        if name not in settings.model_options:
            taken = ", ".join(settings.model_options)
            yield FieldError(f"modelOptions.{named(name)}", f"is not allowed; AI_MODEL_OPTIONS allows {taken}")
