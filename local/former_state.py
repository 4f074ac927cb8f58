"""Finds the local database of a clone from before: it was named after the placeholder id that wrangler.toml had.

Without an id the database is named after its binding. What lies under the former name is moved once, so that tasks that
were accepted then go on.
"""

import hashlib
import hmac
import tomllib
from pathlib import Path

FORMER = "00000000-0000-0000-0000-000000000000"
BINDING = "DB"
_OBJECT = "miniflare-D1DatabaseObject"
_SUFFIXES = ("-wal", "-shm", "")  # the database itself last: as long as it is not moved, all of it is moved again


def file_name(database: str) -> str:
    """The file's name without its ending: the id of the object that Miniflare keeps a database of this name in."""
    key = hashlib.sha256(_OBJECT.encode()).digest()
    name = hmac.new(key, database.encode(), hashlib.sha256).digest()[:16]
    return (name + hmac.new(key, name, hashlib.sha256).digest()[:16]).hex()


def keep_former_database(project: Path, persist_to: Path) -> bool:
    """Move it to its new name, unless there is one already. Whoever calls has the state to himself.

    A project that names an id still goes by it. Returns whether there was something to move.
    """
    named = tomllib.loads((project / "wrangler.toml").read_text("utf-8")).get("d1_databases", [])
    if any("database_id" in one or "preview_database_id" in one or one["binding"] != BINDING for one in named):
        return False
    folder = persist_to / "v3" / "d1" / _OBJECT
    former, now = folder / f"{file_name(FORMER)}.sqlite", folder / f"{file_name(BINDING)}.sqlite"
    if now.exists() or not former.exists():
        return False
    for suffix in _SUFFIXES:
        part = former.with_name(former.name + suffix)
        if part.exists():
            part.rename(now.with_name(now.name + suffix))
    return True
