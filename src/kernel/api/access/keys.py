"""API keys over HTTP: bodies and handlers of `/api/keys`. A key with the scope `admin` manages its tenant's keys."""

from contextlib import suppress
from typing import Annotated, Final, TypedDict

from pydantic import Field

from ...domain import limits
from ...domain.errors import StoreError, StoreUnavailable
from ...domain.keys import ID_BYTES, ID_PATTERN, SECRET_BYTES, Key, Scope, digest, is_key_id, make, ordered
from ...store.keys import KeyStore, NewKey
from ..base.endpoint import Answer, Endpoint
from ..base.exchange import Exchange, Reach
from ..base.fields import NO_NUL, Asked, Whole, checked, read_object
from ..base.messages import Reply, json_reply
from ..base.problems import KEY_LIMIT, NOT_FOUND, Refusal, forbidden
from ..base.views import Time, maybe_rfc3339, rfc3339, shown

_OPERATOR_DETAIL = (
    'The API cannot grant the scope `operator`. Only `make key ARGS="--scopes read,write,operator --remote"` can.'
)
_DEFAULT_SCOPES = (Scope.READ, Scope.WRITE)

_Id = Annotated[str, Field(json_schema_extra={"pattern": f"^{ID_PATTERN}$"})]


class NewKeyFields(Asked):
    """The body of `POST /api/keys`. A field that is null counts as absent."""

    label: (
        Annotated[str, Field(min_length=1, max_length=limits.KEY_LABEL_CHARS_MOST, json_schema_extra=NO_NUL)] | None
    ) = Field(None, description="The key's purpose; shown in lists.")
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1)] | None = Field(
        None,
        description="The key's scopes, by default `read` and `write`. No scope implies another. `operator` is refused "
        "here: only `make key` grants it.",
    )
    expires_in_seconds: Annotated[int, Field(ge=1, le=limits.KEY_SECONDS_MOST), Whole] | None = Field(
        None, description="How long the key is valid; by default until it is deleted."
    )


@shown
class KeyView(TypedDict):
    """An API key, without its secret. `expiresAt` is null for a key that never expires."""

    id: _Id
    label: str | None
    scopes: list[Scope]
    createdAt: Time
    expiresAt: Time | None


@shown
class NewKeyView(KeyView):
    """An API key that was just made. `key` is shown in this answer and never again."""

    key: Annotated[str, Field(json_schema_extra={"pattern": f"^oo_{ID_PATTERN}_[A-Za-z0-9_-]{{43}}$"})]


@shown
class KeyListView(TypedDict):
    """The tenant's API keys, oldest first, at most 100."""

    keys: list[KeyView]


async def make_key(exchange: Exchange) -> Reply:
    """Make an API key. Only the answer to `POST /api/keys` contains the secret: the database stores a digest."""
    fields = checked(NewKeyFields, await read_object(exchange.request, limits.KEY_BODY_BYTES_MOST))
    if Scope.OPERATOR in (fields.scopes or ()):
        raise forbidden(Scope.OPERATOR, _OPERATOR_DETAIL)
    parts, text = make(exchange.api.entropy(ID_BYTES + SECRET_BYTES))
    seconds = fields.expires_in_seconds
    new = NewKey(
        id=parts.id,
        tenant=exchange.tenant,
        digest=digest(parts.secret),
        scopes=frozenset(fields.scopes or _DEFAULT_SCOPES),
        label=fields.label,
        valid_ms=None if seconds is None else seconds * 1000,
    )
    key = await _write(exchange.api.keys, new)
    if key is None:
        detail = f"The tenant already has {limits.KEYS_MOST} keys, the most allowed. Delete one that is not in use."
        raise Refusal(KEY_LIMIT, detail)
    exchange.api.log("key_made", tenant=key.tenant, key=key.id, scopes=ordered(key.scopes))
    view = NewKeyView(**_view(key), key=text)
    return json_reply(201, view, {"Location": f"/api/keys/{key.id}"})


async def list_keys(exchange: Exchange) -> Reply:
    """Show the tenant's keys."""
    return json_reply(200, KeyListView(keys=[_view(key) for key in await exchange.api.keys.list(exchange.tenant)]))


async def delete_key(exchange: Exchange) -> Reply:
    """Revoke an API key: here at once, in other isolates when their memory of it expires."""
    key_id = exchange.parts["id"]
    if not is_key_id(key_id):
        raise _no_key()
    try:
        is_gone = await exchange.api.keys.delete(exchange.tenant, key_id)
    finally:
        # Forget the key even if D1's answer to the deletion was lost, because the key's row may be gone.
        exchange.api.isolate.keys.forget(key_id)
    if not is_gone:
        raise _no_key()
    exchange.api.log("key_deleted", tenant=exchange.tenant, key=key_id)
    return Reply(204)


async def _write(keys: KeyStore, new: NewKey) -> Key | None:
    try:
        return await keys.insert(new)
    except StoreUnavailable:
        # The insert may have landed although D1's answer was lost. Its row, whose secret the client never gets, would
        # count against the tenant's limit of keys.
        with suppress(StoreError):
            await keys.delete(new.tenant, new.id)
        raise


def _no_key() -> Refusal:
    return Refusal(NOT_FOUND, "There is no key with this id.")


def _view(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        label=key.label,
        scopes=ordered(key.scopes),
        createdAt=rfc3339(key.created_at),
        expiresAt=maybe_rfc3339(key.expires_at),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/keys",
        summary="Make a key for the caller's own tenant; only this answer shows it",
        handler=make_key,
        access=Scope.ADMIN,
        body=NewKeyFields,
        answers=(Answer(201, "Made", (NewKeyView,), ("Location",)),),
        problems=(KEY_LIMIT,),
    ),
    Endpoint(
        method="GET",
        path="/api/keys",
        summary="List the tenant's keys, oldest first, without their secrets",
        handler=list_keys,
        access=Scope.ADMIN,
        reach=Reach.ADMINISTERED,
        answers=(Answer(200, "The keys", (KeyListView,)),),
    ),
    Endpoint(
        method="DELETE",
        path="/api/keys/{id}",
        summary="Revoke a key of the tenant; it is refused everywhere within 60 s",
        handler=delete_key,
        access=Scope.ADMIN,
        reach=Reach.ADMINISTERED,
        answers=(Answer(204, "Revoked"),),
        id_schema={"type": "string", "pattern": f"^{ID_PATTERN}$"},
    ),
)
