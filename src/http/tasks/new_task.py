"""The body of `POST /api/tasks`: its fields, the checks that a JSON Schema cannot express, and the task's request.

A deployment's body is a subclass with the fields of its features.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import ConfigDict, Field

from ...core import limits
from ...core.settings import Settings
from ...core.task import Reduce, TaskOptions
from ...core.text.chunks import is_blank
from ...processing.task_request import TaskRequest
from ..base.exchange import Exchange
from ..base.fields import NO_CONTROLS, NO_NUL, Asked, Whole, checked, size_flaw
from ..base.problems import TOO_LARGE, FieldError, Refusal, field_refusal, named

NO_VISIBLE = "must have a visible character"


class ChunkOptions(Asked):
    """How the input is cut. Sizes are in Unicode code points."""

    max_chars: Annotated[int, Field(ge=1, le=limits.CHUNK_CHARS_MOST), Whole] | None = Field(
        None, description="The most characters in a chunk; by default the deployment's CHUNK_MAX_CHARS."
    )
    overlap_chars: Annotated[int, Field(ge=0, lt=limits.CHUNK_CHARS_MOST), Whole] | None = Field(
        None, description="How many characters of the previous chunk are repeated; less than maxChars, by default 0."
    )


class InputField(Asked):
    """The text of a task."""

    # A model is made at the start of an isolate, and the validator only of the model of a deployment's requests.
    model_config = ConfigDict(defer_build=True)

    input: Annotated[str, Field(min_length=1, json_schema_extra=NO_NUL)] | None = Field(
        None,
        description="The text to analyse, with a visible character; at most MAX_INPUT_BYTES of UTF-8.",
    )

    @classmethod
    def input_flaws(cls, body: Mapping[str, object]) -> Iterator[FieldError]:
        """Find whether a body has no text."""
        if body.get("input") is None:
            yield FieldError("input", "is required")

    async def with_text(self, _exchange: Exchange, request: TaskRequest, *, may_be_replayed: bool) -> TaskRequest:
        """Add to a request what is known only after a look for its text. Raises Refusal and StoreError.

        A request that `may_be_replayed` is not refused for a text that is gone, because its task may be there.
        """
        return request


class TaskFields(InputField):
    """The body of `POST /api/tasks`. An optional field that is null counts as absent."""

    model_config = ConfigDict(json_schema_extra={"required": ["input"]})

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

    def flaws(self, settings: Settings) -> Iterator[FieldError]:
        """Find the flaws of fields that their JSON Schema cannot express."""
        if self.input is not None and is_blank(self.input):
            yield FieldError("input", NO_VISIBLE)
        yield from option_flaws(self.chunk, self.model, self.model_options, settings)
        yield from size_flaw("metadata", self.metadata, limits.METADATA_BYTES_MOST)

    def check(self) -> None:
        """Check what takes long, after all else. Raises Refusal (422)."""

    def request(self) -> TaskRequest:
        """Make the task's request."""
        options = TaskOptions(
            reduce=self.reduce or Reduce.CONCAT,
            model=self.model,
            metadata=self.metadata or {},
            deadline_ms=None if self.deadline_seconds is None else round(self.deadline_seconds * 1000),
            max_calls=self.max_model_calls,
            chunk_chars=self.chunk.max_chars if self.chunk else None,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            model_options=self.model_options or {},
        )
        overlap = (self.chunk.overlap_chars or 0) if self.chunk else 0
        return TaskRequest(
            text=self.input or "", instructions=self.instructions, overlap_chars=overlap, options=options
        )


def checked_fields(model: type[TaskFields], body: Mapping[str, object], settings: Settings) -> TaskFields:
    """Check every field of the body of a request.

    Raises Refusal: 422 that names each wrong field, 413 for an input that is too large.
    """
    missing = list(model.input_flaws(body))
    try:
        fields = checked(model, body)
    except Refusal as refusal:
        raise field_refusal([*missing, *refusal.errors]) from None
    if flaws := [*missing, *fields.flaws(settings)]:
        raise field_refusal(flaws)
    size = len((fields.input or "").encode())
    if size > settings.input_bytes:
        message = f"has {size} bytes of UTF-8, more than the {settings.input_bytes} of MAX_INPUT_BYTES"
        raise field_refusal([FieldError("input", message)], TOO_LARGE)
    fields.check()
    return fields


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
