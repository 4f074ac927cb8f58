"""The models of the bodies and answers of `/v1/files`, such as OpenAI's File object."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import Field

from ....kernel.api.base.fields import Plain
from ....kernel.api.base.views import Count, shown
from ....kernel.domain import limits
from ....kernel.domain.ids import FILE_ID_PATTERN
from ..file import File

ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
_Id = Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})]
_LEAST, _MOST = limits.FILE_EXPIRY_SECONDS


def _never_null(schema: dict[str, Any]) -> None:
    """Describe a field that may be absent: the parts of a form are texts, so none of them is null."""
    given, _ = schema.pop("anyOf")
    schema.pop("default")
    schema |= given


class NewFileFields(Plain):
    """The form of `POST /v1/files`, whose parts may have any order."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})] = Field(
        description="The file, as a part with a filename."
    )
    purpose: Literal["batch", "user_data"] = Field(
        description="`batch`: requests of a batch, one a line. `user_data`: a text."
    )
    anchor: Literal["created_at"] | None = Field(
        None,
        alias=ANCHOR,
        description="From when the file's time runs. It needs the field with the seconds.",
        json_schema_extra=_never_null,
    )
    seconds: Annotated[int, Field(ge=_LEAST, le=_MOST)] | None = Field(
        None,
        alias=SECONDS,
        description="After how many seconds the file is deleted. By default a file of the purpose `batch` is deleted "
        "after 30 days, and any other file is kept.",
        json_schema_extra=_never_null,
    )


@shown
class FileView(TypedDict):
    """A file. `expires_at` is null if the file is kept until it is deleted, or as long as its batch.

    A list of all tenants' files shows the `tenant` of each.
    """

    id: _Id
    object: Literal["file"]
    bytes: Count
    created_at: Count
    expires_at: Count | None
    filename: str
    purpose: Literal["batch", "user_data", "batch_output"]
    status: Literal["processed"]
    status_details: None
    tenant: NotRequired[str]


@shown
class FileListView(TypedDict):
    """A page of the tenant's files."""

    object: Literal["list"]
    data: list[FileView]
    first_id: _Id | None
    last_id: _Id | None
    has_more: bool


@shown
class DeletedFileView(TypedDict):
    """A deleted file."""

    id: _Id
    object: Literal["file"]
    deleted: Literal[True]


def file_view(file: File) -> FileView:
    """Show a file."""
    return FileView(
        id=file.id,
        object="file",
        bytes=file.bytes,
        created_at=file.created_at // 1000,
        expires_at=None if file.expires_at is None else file.expires_at // 1000,
        filename=file.filename,
        purpose=file.purpose.value,
        status="processed",
        status_details=None,
    )
