"""Finds the file that a submission names in place of its text, and checks that a task can read it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.problems import TOO_LARGE, FieldError, field_refusal
from ...kernel.api.tasks.submission import InputField, no_such_file
from ...kernel.domain import limits
from ...kernel.domain.ids import FILE_ID_PATTERN, file_key_of
from ...kernel.work.submission import TaskRequest
from ..files.file import Purpose

_NO_BUCKET = (
    "needs a bucket for files: bind an R2 bucket as BLOBS in wrangler.toml, and deploy. Or send the text as input"
)


class TextFileField(InputField):
    """A body that may name a file in place of the text."""

    input_file: Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})] | None = Field(
        None,
        description="In place of `input`: the id of an uploaded file of the purpose `user_data` with a text in UTF-8, "
        f"at most {limits.FILE_TEXT_BYTES_MOST} bytes. It needs the binding BLOBS. A task whose file cannot be read as "
        "text fails with `invalid_input`.",
    )

    @classmethod
    def input_flaws(cls, body: Mapping[str, object]) -> Iterator[FieldError]:
        """Find whether a body has no text, or two."""
        has_text, has_file = (body.get(name) is not None for name in ("input", "inputFile"))
        if not (has_text or has_file):
            yield FieldError("input", "is required, or inputFile")
        if has_text and has_file:
            yield FieldError("inputFile", "is set, and input too: use one of them")

    async def with_text(self, exchange: Exchange, request: TaskRequest, *, may_be_replayed: bool) -> TaskRequest:
        """Find the file."""
        if self.input_file is None:
            return request
        return await with_file(exchange, request, self.input_file, may_be_replayed=may_be_replayed)


async def with_file(
    exchange: Exchange, request: TaskRequest, file_id: str, field: str = "inputFile", *, may_be_replayed: bool = False
) -> TaskRequest:
    """Return a request for the text of the file `file_id`, which the body's `field` names.

    A request that may be a repetition is not refused here if the file is gone: its task may be there. Raises Refusal:
    422 (400 on `/v1`) that names the field, 413 for a file that is too large, and StoreError.
    """
    from ..files.store import file_store  # noqa: PLC0415 - most submissions name no file

    files = file_store(exchange.api.invocation)
    if files.bucket.shelf != "r2":
        raise field_refusal([FieldError(field, _NO_BUCKET)])
    key = file_key_of(exchange.tenant, file_id)
    if key is None:
        raise field_refusal([no_such_file(field)])
    file = await files.file(key)
    if file is None and may_be_replayed:
        return replace(request, input_file=key)
    if file is None or file.growing:
        raise field_refusal([no_such_file(field)])
    if file.purpose is not Purpose.USER_DATA:
        message = f"is a file of the purpose {file.purpose}, and a text needs one of the purpose user_data"
        raise field_refusal([FieldError(field, message)])
    if not file.bytes:
        raise field_refusal([FieldError(field, "is an empty file")])
    if file.bytes > limits.FILE_TEXT_BYTES_MOST:
        message = f"has {file.bytes} bytes, more than the {limits.FILE_TEXT_BYTES_MOST} that a text in a file may have"
        raise field_refusal([FieldError(field, message)], TOO_LARGE)
    return replace(request, input_file=key, file_bytes=file.bytes)
