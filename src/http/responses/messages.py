"""The models of the messages that the field `input` of `POST /v1/responses` may have."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...core.files import FILE_ID_PATTERN
from ..base.fields import NO_NUL

Text = Annotated[str, Field(json_schema_extra=NO_NUL)]


class Sent(BaseModel):
    """The base of the models of `/v1`, whose fields have OpenAI's names."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class TextPart(Sent):
    """A part of a message."""

    type: Literal["input_text"]
    text: Text


class InputFilePart(Sent):
    """A part of the user message: an uploaded file of the purpose `user_data` that has the text, in UTF-8."""

    type: Literal["input_file"]
    file_id: Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})]


class Message(Sent):
    """A message of the input."""

    role: Literal["user", "system", "developer"]
    content: Text | list[TextPart | InputFilePart]
    type: Literal["message"] = "message"
