"""The tenants of runs in which requests need API keys: two tenants, or four in a crowd, with one key each."""

import sqlite3
from random import Random

from src.kernel.domain.ids import LOCAL
from src.kernel.domain.keys import OWN_SCOPES, digest, make, ordered

TENANTS = ("one", "two")
CROWD = (*TENANTS, "three", "four")
_MADE = {tenant: make(Random(tenant).randbytes(40)) for tenant in CROWD}
_TENANT_OF = {f"Bearer {text}": tenant for tenant, (_, text) in _MADE.items()}


def install(connection: sqlite3.Connection, now_ms: int) -> None:
    """Write the tenants' API keys into the database, as `make key` does."""
    scopes = ",".join(f'"{scope}"' for scope in ordered(frozenset(OWN_SCOPES)))
    connection.executemany(
        "INSERT INTO api_keys (id, tenant, digest, scopes, created_at) VALUES (?, ?, ?, ?, ?)",
        [(parts.id, tenant, digest(parts.secret), f"[{scopes}]", now_ms) for tenant, (parts, _) in _MADE.items()],
    )


def headers(tenant: str) -> dict[str, str]:
    """Return the headers that identify a tenant. The tenant `local` needs no key and gets no headers."""
    return {} if tenant == LOCAL else {"authorization": f"Bearer {_MADE[tenant][1]}"}


def tenant_of(headers: object) -> str:
    """Return the tenant that a request's headers identify, which is `local` without a key."""
    assert isinstance(headers, dict)
    return _TENANT_OF.get(headers.get("authorization", ""), LOCAL)
