"""Makes the store of files for an invocation."""

from typing import cast

from ..store.blobs import Bucket
from ..store.files import FileStore
from .invocation import Invocation


def file_store(invocation: Invocation) -> FileStore:
    """Make the store of files, whose new parts lie in the deployment's bucket, or without one in D1."""
    return FileStore(invocation.database, cast("Bucket | None", invocation.bucket()))
