"""Checks the files of a deployment: the bucket in wrangler.toml, and a small file that is stored, read and deleted."""

import json
from collections.abc import Iterator
from typing import Any, Final

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from .findings import Check, Level, fault, ok

_BLOCK: Final = '[[r2_buckets]] binding = "BLOBS", bucket_name = "onceover-files"'
_CONTENT: Final = {"from": "onceover doctor", "text": "这个文件用于检查"}
_SECONDS_KEPT: Final = 3_600


def bucket(own: dict[str, Any], where: str) -> Check:
    """Check the bucket that an environment of wrangler.toml binds. An environment may also have no bucket."""
    names = {one.get("binding"): one.get("bucket_name") for one in own.get("r2_buckets", [])}
    if not names:
        text = f"{where}: no bucket is bound, so files lie in D1 and have at most 1.5 MB. To bind one: {_BLOCK}"
        return Check("files", Level.NOTE, text)
    if not names.get("BLOBS"):
        return fault("files", f"{where}: BLOBS binding is missing or has no bucket_name", _BLOCK)
    return ok("files", f"{where}: files lie in the bucket {names['BLOBS']}")


def probe(api: ApiClient) -> Iterator[Check]:
    """Store, read and delete a small file. The file expires within an hour, in case it cannot be deleted."""
    form = {
        "purpose": "user_data",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": str(_SECONDS_KEPT),
    }
    doing = "stored"
    try:
        made = api.upload("/v1/files", form, "onceover-doctor.json", json.dumps(_CONTENT).encode())
        doing, path = "read", f"/v1/files/{made['id']}"
        content = api.get(f"{path}/content")
        doing = "deleted"
        api.ask("DELETE", path)
    except (Unreachable, ServerRefused) as error:
        fix = "make dev prints why" if api.where.is_local else "npx wrangler r2 bucket list, then make deploy"
        yield fault("files", f"a file could not be {doing}: {error}", fix)
        return
    if content != _CONTENT:
        yield fault("files", "a stored file came back with other content", "npx wrangler tail")
    else:
        yield ok("files", "a file was stored, read and deleted")
