"""Reads, writes and deletes API keys in D1."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ..domain import limits
from ..domain.keys import Key, Scope, ordered
from . import d1
from .d1 import Row, Store, statement
from .ending import TOMBSTONE_MS
from .fragments import NOW

_KEY = "id, tenant, scopes, label, created_at, expires_at"

# Finds an API key that has not expired, and says whether any key exists. FIND_KEY always gives one row, so that a
# request with an unknown key costs as much as one with a known key.
FIND_KEY = statement(f"""
SELECT EXISTS (SELECT 1 FROM api_keys) AS any_key, {_KEY}, digest
FROM (SELECT 1) LEFT JOIN api_keys ON id = :key_id AND (expires_at IS NULL OR expires_at > {NOW})
""")

# Deletes the tenant's expired API keys, which would still count towards its limit of keys. Goes before INSERT_KEY.
DELETE_EXPIRED_KEYS = statement(f"DELETE FROM api_keys WHERE tenant = :tenant AND expires_at <= {NOW}")

# Writes an API key unless the tenant already has `:keys_most` keys. A second send changes nothing, because the caller
# chose the key's id. If the write arrives after the key was revoked, the tombstone `:grave` stops it. Of two writes at
# once, the second counts the key of the first, because D1 serialises writes. `:scopes` is a JSON list. `:valid_ms` is
# NULL for a key that never expires, and `:label` for a key without a label.
INSERT_KEY = statement(f"""
INSERT INTO api_keys (id, tenant, digest, scopes, label, created_at, expires_at)
SELECT :key_id, :tenant, :digest, :scopes, :label, {NOW}, {NOW} + :valid_ms
WHERE (SELECT count(*) FROM api_keys WHERE tenant = :tenant) < :keys_most
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)
ON CONFLICT DO NOTHING
""")

# Reads the API key that INSERT_KEY wrote. If INSERTED_KEY gives no row, the key was not written, because the tenant had
# too many keys. The comparison with `:digest` makes sure that the row does not belong to another key with the same id.
INSERTED_KEY = statement(f"SELECT {_KEY} FROM api_keys WHERE id = :key_id AND digest = :digest")

# Reads the tenant's API keys, oldest first. A tenant has few keys.
LIST_KEYS = statement(f"SELECT {_KEY} FROM api_keys WHERE tenant = :tenant ORDER BY created_at, id")

# Leaves a tombstone of an API key that is about to be revoked, or that was made but never shown to a client, because
# the key's write may still arrive. Goes before DELETE_KEY.
BURY_KEY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :grave, {NOW} + :tombstone_ms
WHERE NOT EXISTS (SELECT 1 FROM api_keys WHERE id = :key_id AND tenant <> :tenant)
ON CONFLICT DO NOTHING
""")

# Revokes an API key of the tenant. If DELETE_KEY is sent twice, the second send deletes nothing.
DELETE_KEY = statement("DELETE FROM api_keys WHERE tenant = :tenant AND id = :key_id RETURNING id")


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
        ((row,),) = await self._database.run(FIND_KEY.bind(key_id=key_id))
        key = None if row["id"] is None else _key(row)
        return KeyLookup(key, d1.maybe_text(row, "digest"), bool(row["any_key"]))

    async def insert(self, new: NewKey) -> Key | None:
        """Write an API key. Returns None if the tenant already has `limits.KEYS_MOST` keys that have not expired."""
        *_, inserted = await self._database.run(
            DELETE_EXPIRED_KEYS.bind(tenant=new.tenant),
            INSERT_KEY.bind(
                key_id=new.id,
                tenant=new.tenant,
                digest=new.digest,
                scopes=as_scopes(new.scopes),
                label=new.label,
                valid_ms=new.valid_ms,
                keys_most=limits.KEYS_MOST,
                grave=grave(new.id),
            ),
            INSERTED_KEY.bind(key_id=new.id, digest=new.digest),
        )
        return _key(inserted[0]) if inserted else None

    async def list(self, tenant: str) -> Sequence[Key]:
        """Read the tenant's API keys, oldest first, including expired ones that are not deleted yet."""
        (found,) = await self._database.run(LIST_KEYS.bind(tenant=tenant))
        return [_key(row) for row in found]

    async def delete(self, tenant: str, key_id: str) -> bool:
        """Revoke an API key. Returns False if the tenant has no key with this id."""
        _, gone = await self._database.run(
            BURY_KEY.bind(tenant=tenant, key_id=key_id, grave=grave(key_id), tombstone_ms=TOMBSTONE_MS),
            DELETE_KEY.bind(tenant=tenant, key_id=key_id),
        )
        return bool(gone)


def grave(key_id: str) -> str:
    """Return the name of a key's tombstone, whose slash no task key has."""
    return f"key/{key_id}"


def as_scopes(scopes: frozenset[Scope]) -> str:
    """Write an API key's scopes as the database stores them: a JSON list of their names."""
    return json.dumps(ordered(scopes))


def _key(row: Row) -> Key:
    """Read an API key. A scope that only newer code knows is ignored; a rollback may leave one."""
    names = json.loads(d1.text(row, "scopes"))
    return Key(
        id=d1.text(row, "id"),
        tenant=d1.text(row, "tenant"),
        scopes=frozenset(scope for scope in Scope if scope in names),
        label=d1.maybe_text(row, "label"),
        created_at=d1.whole(row, "created_at"),
        expires_at=d1.maybe_whole(row, "expires_at"),
    )
