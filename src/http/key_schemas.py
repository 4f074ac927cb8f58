"""The data of `/api/keys`; see `schemas` for the rules."""

from typing import Annotated, TypedDict

from pydantic import Field

from ..core import limits
from ..core.keys import ID_PATTERN, Scope
from .schemas import NO_NUL, Asked, Time, Whole, shown

_Id = Annotated[str, Field(json_schema_extra={"pattern": f"^{ID_PATTERN}$"})]


class NewKeyFields(Asked):
    """The body of `POST /api/keys`. A field that is null counts as absent."""

    label: (
        Annotated[str, Field(min_length=1, max_length=limits.KEY_LABEL_CHARS_MOST, json_schema_extra=NO_NUL)] | None
    ) = Field(None, description="What the key is for; shown in lists.")
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1)] | None = Field(
        None, description="What the key may do, by default `read` and `write`. No scope implies another."
    )
    expires_in_seconds: Annotated[int, Field(ge=1, le=limits.KEY_SECONDS_MOST), Whole] | None = Field(
        None, description="How long the key is valid; by default until it is deleted."
    )


@shown
class KeyView(TypedDict):
    """A key, without what proves it. `expiresAt` is null for one that never expires."""

    id: _Id
    label: str | None
    scopes: list[Scope]
    createdAt: Time
    expiresAt: Time | None


@shown
class NewKeyView(TypedDict):
    """A key that was just made. `key` is shown here and never again."""

    id: _Id
    key: Annotated[str, Field(json_schema_extra={"pattern": f"^oo_{ID_PATTERN}_[A-Za-z0-9_-]{{43}}$"})]
    label: str | None
    scopes: list[Scope]
    createdAt: Time
    expiresAt: Time | None


@shown
class KeyListView(TypedDict):
    """The tenant's keys, oldest first; there are at most 100."""

    keys: list[KeyView]
