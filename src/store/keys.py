"""Reads and writes API keys in D1. The SQL statements for API keys are in `sql.keys`."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ..core import limits
from ..core.keys import Key, Scope, ordered
from .d1 import columns
from .d1.database import Row, Store
from .sql import keys as sql
from .standing import TOMBSTONE_MS


class NewKey(NamedTuple):
    """An API key that will be written to the database. The new API key never expires if `valid_ms` is None."""

    id: str
    tenant: str
    digest: str
    scopes: frozenset[Scope]
    label: str | None
    valid_ms: int | None


class KeyLookup(NamedTuple):
    """The result of looking up an API key: the key and its digest, each None if not found, and whether a key exists."""

    key: Key | None
    digest: str | None
    any_key: bool


class KeyStore(Store):
    """Reads and writes API keys. Each method of `KeyStore` is one call to D1."""

    async def find(self, key_id: str) -> KeyLookup:
        """Look up an API key, which must not have expired by the database's clock."""
        ((row,),) = await self._database.run(sql.FIND_KEY.bind(key_id=key_id))
        any_key = bool(row["any_key"])
        if row["id"] is None:
            return KeyLookup(None, None, any_key)
        return KeyLookup(_key(row), columns.text(row, "digest"), any_key)

    async def insert(self, new: NewKey) -> Key | None:
        """Write an API key. Returns None if the tenant already has `limits.KEYS_MOST` keys that have not expired."""
        *_, inserted = await self._database.run(
            sql.DELETE_EXPIRED_KEYS.bind(tenant=new.tenant),
            sql.INSERT_KEY.bind(
                key_id=new.id,
                tenant=new.tenant,
                digest=new.digest,
                scopes=as_scopes(new.scopes),
                label=new.label,
                valid_ms=new.valid_ms,
                keys_most=limits.KEYS_MOST,
                grave=grave(new.id),
            ),
            sql.INSERTED_KEY.bind(key_id=new.id, digest=new.digest),
        )
        return _key(inserted[0]) if inserted else None

    async def list(self, tenant: str) -> Sequence[Key]:
        """Read the tenant's API keys, oldest first, including expired ones that are not deleted yet."""
        (found,) = await self._database.run(sql.LIST_KEYS.bind(tenant=tenant))
        return [_key(row) for row in found]

    async def delete(self, tenant: str, key_id: str) -> bool:
        """Revoke an API key. Returns False if the tenant has no key with this id."""
        _, gone = await self._database.run(
            sql.BURY_KEY.bind(tenant=tenant, key_id=key_id, grave=grave(key_id), tombstone_ms=TOMBSTONE_MS),
            sql.DELETE_KEY.bind(tenant=tenant, key_id=key_id),
        )
        return bool(gone)


def grave(key_id: str) -> str:
    """Return the name under which the tombstone of an API key is stored.

    The tombstone's name contains a slash, so it differs from every task key, because a tenant's name contains no slash.
    """
    return f"key/{key_id}"


def as_scopes(scopes: frozenset[Scope]) -> str:
    """Write an API key's scopes as the database stores them: a JSON list of their names."""
    return json.dumps(ordered(scopes))


def _scopes(names: Sequence[str]) -> frozenset[Scope]:
    """Read an API key's scopes. A scope that only newer code knows is ignored; a rollback may leave one."""
    return frozenset(scope for scope in Scope if scope in names)


def _key(row: Row) -> Key:
    return Key(
        id=columns.text(row, "id"),
        tenant=columns.text(row, "tenant"),
        scopes=_scopes(json.loads(columns.text(row, "scopes"))),
        label=columns.maybe_text(row, "label"),
        created_at=columns.whole(row, "created_at"),
        expires_at=columns.maybe_whole(row, "expires_at"),
    )
