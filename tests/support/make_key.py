"""Makes API keys for a local server, as an operator makes them."""

import secrets
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from src.kernel.domain.keys import ID_BYTES, OWN_SCOPES, SECRET_BYTES, Scope, digest, make
from src.kernel.store.keys import as_scopes
from tests.support.databases import d1_file
from tests.support.dev_server import ROOT
from tests.support.programs import output_of


def make_key(state: Path, *arguments: str) -> str:
    (key,) = output_of([sys.executable, "-m", "local.key", "--persist-to", state, *arguments], cwd=ROOT).splitlines()
    return key


def insert_key(state: Path, tenant: str = "local", *, operator: bool = False, expired: bool = False) -> str:
    """Write a key with its tenant's scopes into a server's database, also `operator` or `expired`."""
    parts, text = make(secrets.token_bytes(ID_BYTES + SECRET_BYTES))
    scopes = Scope if operator else OWN_SCOPES
    now_ms = round(time.time() * 1000)
    ends = now_ms - 1 if expired else None
    row = (parts.id, tenant, digest(parts.secret), as_scopes(frozenset(scopes)), now_ms - 2, ends)
    with closing(sqlite3.connect(d1_file(state), timeout=20)) as connection, connection:
        connection.execute(
            "INSERT INTO api_keys (id, tenant, digest, scopes, label, created_at, expires_at) "
            "VALUES (?, ?, ?, ?, 'tests', ?, ?)",
            row,
        )
    return text
