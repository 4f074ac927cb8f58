"""The body of `POST /v1/batches`, and the request for a batch made from it."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ....kernel.api.base.fields import Asked, MaxCost, Plain, Whole, amount, field_errors, text_flaws
from ....kernel.api.base.problems import INVALID_FIELDS, UNSUPPORTED_PARAMETER, FieldError, Refusal, field_refusal
from ....kernel.domain import limits
from ....kernel.domain.ids import FILE_ID_PATTERN
from ...files.file import File, Purpose
from ..lines.lines import BatchEndpoint
from ..work.submission import BatchRequest

INPUT_FILE = "input_file_id"
_HOURS_MOST = limits.BATCH_WINDOW_HOURS_MOST
_WINDOW_PATTERN = "([1-9][0-9]?|1[0-5][0-9]|16[0-8])h"  # No pattern can name a limit. A test compares the two.
_WINDOW = re.compile(_WINDOW_PATTERN)
_LEAST, _MOST = limits.FILE_EXPIRY_SECONDS
_KEY = Annotated[str, Field(max_length=limits.RESPONSE_METADATA_KEY_CHARS_MOST)]
_VALUE = Annotated[str, Field(max_length=limits.RESPONSE_METADATA_VALUE_CHARS_MOST)]


class OutputExpiryFields(Plain):
    """How long the output file and the error file are kept."""

    anchor: Literal["created_at"] = Field(description="The time of the batch's end, when its files are complete.")
    seconds: Annotated[int, Field(ge=_LEAST, le=_MOST)]


class BatchOptionFields(Asked):
    """Options that OpenAI's API lacks (`extra_body` of its SDKs)."""

    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST), Whole] | None = Field(
        None,
        description="The most model calls of the batch. A batch that needs more fails with `budget_exhausted`, and "
        "keeps the answers that it has.",
    )
    max_cost: MaxCost | None = Field(
        None,
        description="The most that the calls of the batch may cost, in dollars. A line without a price or a limit of "
        "output, or with content by its URL or id, is then not valid (`no_price`). A batch whose next call may exceed "
        "it fails with `cost_exhausted`, and keeps the answers that it has.",
    )


class NewBatchFields(Plain):
    """The body of `POST /v1/batches`. Other fields are refused by name."""

    input_file_id: Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})] = Field(
        description="The id of an uploaded file of the purpose `batch`."
    )
    endpoint: BatchEndpoint = Field(description="The `url` of each line.")
    completion_window: Annotated[str, Field(json_schema_extra={"pattern": f"^{_WINDOW_PATTERN}$"})] = Field(
        description=f"`24h`, as at OpenAI, or another time from `1h` to `{_HOURS_MOST}h`. Then the batch expires."
    )
    metadata: Annotated[dict[_KEY, _VALUE], Field(max_length=limits.RESPONSE_METADATA_PAIRS_MOST)] | None = Field(
        None, description="Returned unchanged."
    )
    output_expires_after: OutputExpiryFields | None = Field(
        None, description="By default the files of a batch are kept as long as its task."
    )
    onceover: BatchOptionFields | None = None


def new_fields(body: Mapping[str, object]) -> NewBatchFields:
    """Check a body. Raises Refusal (400), which names each wrong field."""
    if flaws := list(text_flaws(body)):
        raise field_refusal(flaws)
    try:
        fields = NewBatchFields.model_validate(body)
    except ValidationError as error:
        unknown = any(item["type"] == "extra_forbidden" for item in error.errors())
        raise field_refusal(field_errors(error), UNSUPPORTED_PARAMETER if unknown else INVALID_FIELDS) from None
    if _hours(fields) is None:
        message = f"must be 24h, or another whole number of hours from 1h to {_HOURS_MOST}h"
        raise field_refusal([FieldError("completion_window", message)])
    return fields


def new_request(fields: NewBatchFields, input_file: File) -> BatchRequest:
    """Make the request for a batch. Raises Refusal (400) if the input file is not complete, or not for batches."""
    if input_file.growing:
        raise no_input()
    if input_file.purpose is not Purpose.BATCH:
        message = f"is a file of the purpose {input_file.purpose}, and a batch needs one of the purpose batch"
        raise field_refusal([FieldError(INPUT_FILE, message)])
    expiry, own, hours = fields.output_expires_after, fields.onceover, _hours(fields)
    assert hours is not None
    return BatchRequest(
        endpoint=fields.endpoint,
        input_file=input_file,
        window_ms=hours * 3_600_000,
        metadata=fields.metadata or {},
        max_calls=None if own is None else own.max_model_calls,
        max_cost=None if own is None else amount(own.max_cost),
        output_ms=None if expiry is None else expiry.seconds * 1000,
    )


def no_input() -> Refusal:
    """Make the refusal (400) of a batch whose input file does not exist, or was deleted just now."""
    return field_refusal([FieldError(INPUT_FILE, "is not the id of an uploaded file")])


def _hours(fields: NewBatchFields) -> int | None:
    found = _WINDOW.fullmatch(fields.completion_window)
    return int(found[1]) if found else None
