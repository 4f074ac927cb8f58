"""A submission: its body, its conditions, and the answer 202, for the native API and for `/v1`.

A deployment's body is a subclass with the fields of its features. In the IETF draft "The Idempotency-Key HTTP Header
Field" a key is in quotes, and most clients send one without. Both are accepted, as different keys.

An SDK repeats a submission by itself after a lost answer. OpenAI's SDKs send no Idempotency-Key with a repeated
request. It has the same API key and the same body, and its header `x-stainless-retry-count` is 1 or more.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from ...domain import limits
from ...domain.errors import TextFileGone, seconds_until_reset
from ...domain.settings import Settings
from ...domain.task import Reduce, Task, TaskOptions
from ...store.admission import Limit, LimitReached, Mismatched
from ...store.resend import Resend
from ...text.chunks import TooManyChunks, is_blank
from ...work.submission import BudgetTooSmall, HeadingsTooLong, Submitted, TaskRequest, TooMuchRepeated
from ..base.endpoint import Parameter
from ..base.exchange import Exchange
from ..base.fields import (
    NO_CONTROLS,
    NO_NUL,
    Asked,
    MaxCost,
    Whole,
    amount,
    checked,
    created_bound,
    extras_of,
    read_object,
    refused,
    size_flaw,
)
from ..base.messages import Reply, json_reply
from ..base.problems import (
    BAD_IDEMPOTENCY_KEY,
    IDEMPOTENCY_MISMATCH,
    LIMIT_REACHED,
    TOO_LARGE,
    FieldError,
    Refusal,
    field_refusal,
    named,
    overload_refusal,
)
from ..base.services import Api
from .large_answers import task_reply
from .views import task_path, whole_task_view
from .waiting_for import retry_after

# The headers by which a repeated submission is recognised.
JOINING: Final = (
    Parameter(
        "x-stainless-retry-count",
        "How often the SDK has sent this request before. From 1 on, the answer is the task of the first "
        "attempt, if that came within the SDK's own timeouts and there is no Idempotency-Key.",
        {"type": "string"},
        "header",
    ),
    Parameter(
        "x-stainless-read-timeout", "The SDK's timeout in seconds (Python); 600 without.", {"type": "string"}, "header"
    ),
    Parameter("x-stainless-timeout", "The same (JavaScript).", {"type": "string"}, "header"),
)
_COUNT = re.compile(r"[0-9]{1,3}")
_SECONDS = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,20})?")


def resend(exchange: Exchange, body_digest: str) -> Resend:
    """Return which earlier task a submission without an Idempotency-Key may get: none at its first send."""
    headers = exchange.request.headers
    sendings = _sendings(headers)
    seconds = min(sendings * (_timeout(headers) + limits.RESEND_PAUSE_SECONDS), limits.RESEND_SECONDS_MOST)
    return Resend(f"{exchange.key_id or '-'} {body_digest}", sendings, ceil(seconds * 1000))


def _sendings(headers: Mapping[str, str]) -> int:
    """Read how often the SDK has sent the request before. A missing or malformed count of sends is read as 0."""
    text = headers.get("x-stainless-retry-count", "0")
    return int(text) if _COUNT.fullmatch(text) else 0


def _timeout(headers: Mapping[str, str]) -> float:
    for name in ("x-stainless-read-timeout", "x-stainless-timeout"):
        if _SECONDS.fullmatch(text := headers.get(name, "")):
            return float(text)
    return limits.RESEND_TIMEOUT_SECONDS


_KEY = re.compile(f"[!-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MOST}}}")
_SETTINGS = {
    Limit.TASKS_IN_FLIGHT: ("MAX_TASKS_IN_FLIGHT", "tasks in flight"),
    Limit.CHARACTERS_PER_DAY: ("MAX_CHARACTERS_PER_DAY", "characters accepted a day"),
}


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Read the header Idempotency-Key, None if there is none. Raises Refusal (400) for a malformed value."""
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        most = limits.IDEMPOTENCY_KEY_CHARS_MOST
        raise Refusal(BAD_IDEMPOTENCY_KEY, f"Idempotency-Key takes 1 to {most} visible ASCII characters.")
    return key


def digest(body: Mapping[str, object]) -> str:
    """Return a digest of a body's fields. White space and the order of fields in the body do not change the digest."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def mismatch() -> Refusal:
    """Make the refusal of an Idempotency-Key that was used with another body."""
    return Refusal(IDEMPOTENCY_MISMATCH, "This Idempotency-Key was used with another body. Use a new key.")


def no_such_file(field: str = "inputFile") -> FieldError:
    """Make the flaw of a field that names no file of the tenant, or one that was deleted just now."""
    return FieldError(field, "is not the id of an uploaded file")


def limit_reached(limit: Limit, api: Api) -> Refusal:
    """Make the refusal of a task whose tenant has reached a limit."""
    variable, what = _SETTINGS[limit]
    again = seconds_until_reset(api.now_ms()) if limit is Limit.CHARACTERS_PER_DAY else limits.IN_FLIGHT_RETRY_SECONDS
    detail = f"The tenant has reached the deployment's limit of {what} ({variable})."
    return Refusal(LIMIT_REACHED, detail, headers={"Retry-After": str(again)}, limit=limit)


NO_VISIBLE = "must have a visible character"
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
NOT_BEFORE: Final = Field(
    None,
    description="No model call starts before this time (RFC 3339, at most 7 days ahead), whatever asks for the task. "
    "A past time means now. The deadline counts from it.",
)
MAX_COST: Final = Field(
    None,
    description="The most that the calls of the task may cost, in dollars, over all retries: calls in doubt and in "
    "flight at their most. A task whose next call may exceed it fails with `cost_exhausted`, and its finished chunks "
    "stay readable. It needs a price of the model and a limit of output. A retry may set another amount.",
)


def starts_at(not_before: str | None) -> int | None:
    """Return `notBefore` in milliseconds since the epoch. Raises Refusal (422)."""
    found = None if not_before is None else created_bound({"notBefore": not_before}, "notBefore")
    return None if found is None else ceil(found)


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
        None, description="The text to analyse, with a visible character; at most MAX_INPUT_BYTES of UTF-8."
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

    max_cost: MaxCost | None = MAX_COST
    not_before: Moment | None = NOT_BEFORE
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
            max_cost=amount(self.max_cost),
            starts_at=starts_at(self.not_before),
            chunk_chars=self.chunk.max_chars if self.chunk else None,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            model_options=self.model_options or {},
            extras=extras_of(self),
        )
        overlap = (self.chunk.overlap_chars or 0) if self.chunk else 0
        return TaskRequest(
            text=self.input or "", instructions=self.instructions, overlap_chars=overlap, options=options
        )


def checked_fields(model: type[TaskFields], body: Mapping[str, object], settings: Settings) -> TaskFields:
    """Check every field of a body. Raises Refusal: 422 that names each wrong field, 413 for an input too large."""
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
        raise refused("input", message, TOO_LARGE)
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


async def read_submission(exchange: Exchange) -> dict[str, object]:
    """Read the body of a submission. The size limit leaves space for the largest input with all characters escaped."""
    most = exchange.api.settings.input_bytes * limits.BODY_ESCAPE_FACTOR + limits.BODY_OVERHEAD_BYTES
    return await read_object(exchange.request, most)


async def accept(
    exchange: Exchange, request: TaskRequest, key: str | None, body_digest: str, resend: "Resend | None" = None
) -> Submitted:
    """Submit a task for a checked request. Raises Refusal with the reason if the task is refused."""
    api = exchange.api
    if (request.options.starts_at or 0) > api.now_ms() + limits.NOT_BEFORE_SECONDS_MOST * 1000:
        raise refused("notBefore", "must be at most 7 days ahead")
    if request.options.max_cost is not None:
        with cut_flaws():
            for kind in api.kind_apis():
                await kind.check(request, api)
    with admitted(api), cut_flaws():
        outcome = await api.submission.submit(exchange.tenant, request, key, body_digest, resend)
    match outcome:
        case Submitted():
            return outcome
        case Mismatched():
            raise mismatch()
        case LimitReached(limit):
            raise limit_reached(limit, api)


@contextmanager
def admitted(api: Api) -> Iterator[None]:
    """Submit within this context. Raises Refusal (503) while the database is overloaded."""
    load, clock = api.isolate.load, asyncio.get_running_loop().time
    try:
        if not load.admits(clock()):
            raise overload_refusal()
        yield
    finally:
        load.unprobed(clock())  # a request that was refused without a D1 call has not probed the overloaded database


# The field with the text that calls mostly repeat; else it is `instructions`.
_REPEATED: Final = {"overlaps": "chunk.overlapChars", "schema": "outputSchema", "context": "contextChars"}


@contextmanager
def cut_flaws() -> Iterator[None]:
    """Turn an error of cutting the input into a refusal that names the field at fault."""
    try:
        yield
    except TooManyChunks as error:
        raise refused("chunk.maxChars", f"is too small: the input would need more than {error.most} chunks") from None
    except BudgetTooSmall as error:
        message = f"must be at least {error.minimum}: the task needs that many calls without failures"
        raise refused("maxModelCalls", message) from None
    except TooMuchRepeated as error:
        most = limits.SENT_CHARS_MOST
        message = f"is too long for this many chunks: their calls would send more than {most} characters"
        raise refused(_REPEATED.get(error.mostly, "instructions"), message) from None
    except HeadingsTooLong:
        message = "are too long beside the input: set headings to false, or use larger chunks"
        raise refused("headings", message) from None
    except TextFileGone:
        raise field_refusal([no_such_file()]) from None


def replayed(accepted: Submitted) -> dict[str, str]:
    """Return the header that says that an earlier request made the task, or no header if the present request did."""
    return {"Idempotency-Replayed": "true"} if accepted.replayed else {}


async def accepted_reply(exchange: Exchange, task: Task, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer 202 with the task and its path. The task of a repeated request may have ended already."""
    api = exchange.api
    location = f"{task_path(task.id)}{exchange.acting.query(task.task_key)}"
    headers = {"Location": location, **retry_after(api, task), **(headers or {})}
    view = whole_task_view(exchange.visible(task), api, exchange.acting)
    if not exchange.may_read:  # without the scope `read` no result is shown, so a large one is not read
        return json_reply(202, view, headers)
    return await task_reply(api.store, 202, task, view, headers)
