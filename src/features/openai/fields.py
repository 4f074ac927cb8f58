"""The body of `POST /v1/responses`: which of OpenAI's fields have an effect, and the task's request made from them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from ...kernel.api.base.fields import (
    NO_CONTROLS,
    NO_NUL,
    MaxCost,
    Plain,
    Whole,
    amount,
    extras_of,
    field_errors,
    refused,
    text_flaws,
)
from ...kernel.api.base.problems import INVALID_FIELDS, TOO_LARGE, UNSUPPORTED_PARAMETER, FieldError, field_refusal
from ...kernel.api.tasks.submission import NO_VISIBLE, ChunkOptions, Moment, option_flaws, starts_at
from ...kernel.domain import limits
from ...kernel.domain.settings import Settings
from ...kernel.domain.task import CONCAT_SEPARATOR, Reduce, TaskOptions
from ...kernel.text.chunks import is_blank
from ...kernel.work.submission import TaskRequest
from ..context import fields as context
from ..extras import Extras
from ..structured import fields as output_fields
from ..structured.fields import WantedOutput
from . import parameters, prompt, text_format
from .prompt import Message, Prompt, Text
from .text_format import SchemaFormatFields, TextFields

WINDOW_SECONDS = {"soonest": None, "2h": 7_200, "8h": 28_800}

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
TopP = Annotated[float, Field(ge=0, le=1)]


class ReasoningFields(Plain):
    """How much the model should reason."""

    effort: Effort | None = None


class BackgroundFields(Plain):
    """How soon the response is needed. The time becomes the task's deadline; `soonest` sets no deadline."""

    completion_window: Literal["soonest", "2h", "8h"] | None = None


class Twins(Plain):
    """Options of a model call that have two fields in a request to `/v1`: either is given, or both with one value."""

    model_config = ConfigDict(extra="ignore")

    top_p: TopP | None = None
    reasoning_effort: Effort | None = None


class OnceoverFields(Extras):
    """Options that OpenAI's API lacks (`extra_body` of its SDKs), with the same meaning as in the native API.

    `reduce` is `merge` by default. It is `concat` by default with `join`, and with a schema whose outputs can be joined
    without rules.
    """

    reduce: Literal["concat", "merge"] | None = None
    chunk: ChunkOptions | None = None
    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST), Whole] | None = None
    deadline_seconds: Annotated[float, Field(ge=1, le=limits.DEADLINE_SECONDS_MOST)] | None = None
    max_cost: MaxCost | None = None
    not_before: Moment | None = None
    model_options: dict[str, object] | None = None
    join: output_fields.JoinRules | None = output_fields.JOIN
    on_chunk_failure: output_fields.OnChunkFailure | None = output_fields.ON_CHUNK_FAILURE
    max_gap_share: output_fields.GapShare | None = output_fields.MAX_GAP_SHARE
    context_chars: context.ContextChars | None = context.CONTEXT_CHARS
    headings: bool | None = context.HEADINGS


def _describe(schema: dict[str, Any]) -> None:
    """Add the fields that have no effect to the schema, each with its allowed values."""
    schema["properties"] |= {name: parameters.schema(passing) for name, passing in parameters.DEFAULTS.items()}


MetadataKey = Annotated[str, Field(max_length=limits.RESPONSE_METADATA_KEY_CHARS_MOST)]
MetadataValue = Annotated[str, Field(max_length=limits.RESPONSE_METADATA_VALUE_CHARS_MOST)]


class NewResponseFields(Plain):
    """The body of `POST /v1/responses`.

    The service refuses a field that it does not honour and names it, unless the field has OpenAI's default value.
    """

    model_config = ConfigDict(json_schema_extra=_describe)

    background: Literal[True]
    input: Annotated[Text, Field(min_length=1)] | list[Message] = Field(
        description="The text, or a list of one user message and at most one system or developer message. Messages "
        "have text, at most MAX_INPUT_BYTES of UTF-8. A blank line joins the parts of a message. The user message may "
        f"have one file, of at most {limits.FILE_TEXT_BYTES_MOST} bytes, which then is the text. The message's own "
        "text says what to do with it, after the instructions. A file needs the binding BLOBS."
    )
    instructions: Annotated[str, Field(max_length=limits.INSTRUCTIONS_CHARS_MOST, json_schema_extra=NO_NUL)] | None = (
        Field(None, description="What to do with the text, or with each part of a long one.")
    )
    model: (
        Annotated[str, Field(min_length=1, max_length=limits.MODEL_CHARS_MOST, json_schema_extra=NO_CONTROLS)] | None
    ) = Field(None, description="Overrides the deployment's model; printable characters.")
    metadata: (
        Annotated[dict[MetadataKey, MetadataValue], Field(max_length=limits.RESPONSE_METADATA_PAIRS_MOST)] | None
    ) = Field(None, description="Returned unchanged.")
    max_output_tokens: Annotated[int, Field(ge=1, le=limits.OUTPUT_TOKENS_MOST), Whole] | None = Field(
        None, description="The most tokens that the model may write in each call."
    )
    temperature: Annotated[float, Field(ge=0, le=limits.TEMPERATURE_MOST)] | None = None
    top_p: TopP | None = None
    reasoning: ReasoningFields | None = None
    background_options: BackgroundFields | None = None
    text: TextFields | None = None
    store: bool | None = Field(
        None, description=f"false: the response is kept for {limits.RESPONSE_UNSTORED_SECONDS} s after its end."
    )
    stream: bool | None = Field(None, description="true: the answer is the response's events as they happen.")
    onceover: OnceoverFields | None = None


def new_request(body: Mapping[str, object], settings: Settings, default_model: str) -> TaskRequest:
    """Check a body's fields, and make the task's request. Raises Refusal: 400 by field, 413 for its input."""
    if flaws := list(text_flaws(body)):
        raise field_refusal(flaws)
    if unsupported := list(_unsupported(body)):
        raise field_refusal(unsupported, UNSUPPORTED_PARAMETER)
    given, fields = prompt.read(body.get("input")), _checked(body)
    if flaws := list(_flaws(fields, given, settings, default_model)):
        raise field_refusal(flaws)
    size = len(given.text.encode())
    if size > settings.input_bytes:
        message = f"has {size} bytes of UTF-8, more than the {settings.input_bytes} of MAX_INPUT_BYTES"
        raise refused("input", message, TOO_LARGE)
    is_open = (fields.onceover is None or fields.onceover.reduce is None) and _wanted(fields).join is None
    wanted = text_format.reduced(_wanted(fields), is_open=is_open)
    return _request(fields, given, settings, str(body.get("tool_choice") or "auto"), wanted)


def _wanted(fields: NewResponseFields) -> WantedOutput:
    """Return the form of the outputs: merged by default, or concatenated if `join` is given."""
    own, form = fields.onceover or OnceoverFields(), fields.text.format if fields.text else None
    formed = form if isinstance(form, SchemaFormatFields) else None
    default = Reduce.MERGE if formed is None or own.join is None else Reduce.CONCAT
    return WantedOutput(
        schema=None if formed is None else formed.document,
        strict=None if formed is None else formed.strict is True,
        reduce=default if own.reduce is None else Reduce(own.reduce),
        join=own.join,
        on_chunk_failure=own.on_chunk_failure,
        max_gap_share=own.max_gap_share,
        name=None if formed is None else formed.name,
    )


def _unsupported(body: Mapping[str, object]) -> Iterator[FieldError]:
    if body.get("background") is not True:
        yield FieldError("background", "must be true: responses only run in the background" + _next_step(body))
    yield from parameters.refused(body)
    yield from text_format.unsupported(body.get("text"))
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping):
        rest = {name: value for name, value in reasoning.items() if name != "effort"}
        yield from parameters.misfits("reasoning", rest, parameters.REASONING)


def _next_step(body: Mapping[str, object]) -> str:
    """Return what a client without `background` has to do besides: parsing helpers get a queued response, too."""
    text = body.get("text")
    form = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        # `responses.parse` of the SDKs sends a schema, and parses only the answer to this request, which has no output.
        return ". Then read the parsed result with responses.stream, not responses.parse: docs/structured-output.md"
    return ". Then poll responses.retrieve until the status is final: docs/openai.md"


def _checked(body: Mapping[str, object]) -> NewResponseFields:
    """Check the fields that have an effect on the task. An unknown field is refused by name as unsupported."""
    honoured = {name: value for name, value in body.items() if name not in parameters.DEFAULTS}
    if isinstance(reasoning := honoured.get("reasoning"), Mapping):
        honoured["reasoning"] = {name: value for name, value in reasoning.items() if name == "effort"}
    honoured["input"] = "checked"
    try:
        return NewResponseFields.model_validate(honoured)
    except ValidationError as error:
        unknown = any(item["type"] == "extra_forbidden" for item in error.errors())
        flaws = map(text_format.as_sent, field_errors(error))
        raise field_refusal(flaws, UNSUPPORTED_PARAMETER if unknown else INVALID_FIELDS) from None


def _flaws(fields: NewResponseFields, given: Prompt, settings: Settings, default_model: str) -> Iterator[FieldError]:
    own = fields.onceover or OnceoverFields()
    yield from _input_flaws(fields, given)
    if settings.provider == "demo" and fields.model not in {None, default_model, *settings.models}:
        said = f"is not here: AI_PROVIDER is demo, which needs no model and is named {default_model}"
        yield FieldError("model", f"{said}. Leave model out, or set AI_PROVIDER to openai: docs/configuration.md")
    if _deadline_seconds(fields) is not None and own.deadline_seconds is not None:
        yield FieldError("onceover.deadlineSeconds", "is set, and completion_window too: use one of them")
    for name, value in _model_options(fields).items():
        if name not in settings.model_options:
            field = {"reasoning_effort": "reasoning.effort"}.get(name, name)
            yield FieldError(field, f"is not allowed; AI_MODEL_OPTIONS allows {', '.join(settings.model_options)}")
        elif name in (own.model_options or {}) and (own.model_options or {})[name] != value:
            yield FieldError(f"onceover.modelOptions.{name}", "is set twice, with different values")
    yield from _twin_flaws(own.model_options or {})
    overlap = own.chunk.overlap_chars if own.chunk else None
    for flaw in (*_wanted(fields).flaws(), *context.flaws(own.context_chars, overlap)):
        yield flaw._replace(field=f"onceover.{flaw.field}")
    model = None if fields.model == default_model else fields.model
    for flaw in option_flaws(own.chunk, model, own.model_options, settings):
        yield flaw if flaw.field == "model" else flaw._replace(field=f"onceover.{flaw.field}")


def _input_flaws(fields: NewResponseFields, given: Prompt) -> Iterator[FieldError]:
    if given.file is None and is_blank(given.text):
        yield FieldError("input", NO_VISIBLE if given.text else "must not be empty")
    most = limits.INSTRUCTIONS_CHARS_MOST
    if given.file is not None and len(_instructions(fields, given) or "") > most:
        message = f"has a text beside the file, which makes instructions of more than {most} characters"
        yield FieldError("input", message)
    if given.system is not None and fields.instructions is not None:
        yield FieldError("input", "has a system or developer message, and instructions is set too: use one of them")
    if given.system is not None and len(given.system) > most:
        yield FieldError("input", f"has a system or developer message of more than {most} characters")


def _twin_flaws(model_options: Mapping[str, object]) -> Iterator[FieldError]:
    try:
        Twins.model_validate(model_options)
    except ValidationError as error:
        for flaw in field_errors(error):
            yield flaw._replace(field=f"onceover.modelOptions.{flaw.field}")


def _model_options(fields: NewResponseFields) -> dict[str, object]:
    effort = fields.reasoning.effort if fields.reasoning else None
    found = {"top_p": fields.top_p, "reasoning_effort": effort}
    return {name: value for name, value in found.items() if value is not None}


def _instructions(fields: NewResponseFields, given: Prompt) -> str | None:
    """Return what to do with the text. Beside a file, the text of the user message belongs to it."""
    asked = given.system if given.system is not None else fields.instructions
    if given.file is None:
        return asked or None
    return CONCAT_SEPARATOR.join(filter(None, (asked, given.text))) or None


def _deadline_seconds(fields: NewResponseFields) -> float | None:
    window = fields.background_options.completion_window if fields.background_options else None
    return WINDOW_SECONDS[window or "soonest"]


def _request(
    fields: NewResponseFields, given: Prompt, settings: Settings, tool_choice: str, wanted: WantedOutput
) -> TaskRequest:
    own = fields.onceover or OnceoverFields()
    deadline = _deadline_seconds(fields) or own.deadline_seconds
    instructions = _instructions(fields, given)
    options = TaskOptions(
        reduce=wanted.reduce,
        model=fields.model,
        metadata=fields.metadata or {},
        deadline_ms=None if deadline is None else round(deadline * 1000),
        max_calls=own.max_model_calls,
        max_cost=amount(own.max_cost),
        starts_at=starts_at(own.not_before),
        chunk_chars=own.chunk.max_chars if own.chunk else None,
        max_output_tokens=fields.max_output_tokens,
        temperature=fields.temperature,
        model_options={**(own.model_options or {}), **_model_options(fields)},
        response={
            "store": fields.store is not False,
            "tool_choice": tool_choice,
            "instructions": bool(given.system if given.system is not None else fields.instructions),
        },
        retention_ms=limits.RESPONSE_UNSTORED_SECONDS * 1000 if fields.store is False else None,
        structure=wanted.structure(),
        extras=extras_of(own),
        long_text=wanted.long_text(),
    )
    overlap = (own.chunk.overlap_chars or 0) if own.chunk else 0
    request = TaskRequest(
        text=given.text if given.file is None else "",
        instructions=instructions,
        overlap_chars=overlap,
        options=options,
        output_schema=wanted.stored_schema(),
        join_rules=wanted.join or {},
    )
    request = context.with_context(request, own.context_chars, own.headings)
    if instructions is None and given.file is None and len(given.text) <= request.max_chars(settings):
        # A text of one chunk without instructions is sent to the model without default instructions, as OpenAI does.
        return replace(request, instructions="")
    return request
