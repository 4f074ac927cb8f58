"""Ids and keys of tasks and files, and the tenants that own them.

Clients use ids. The code below the API uses keys; a task key is `<tenant>:<task id>`. Task ids are UUIDs of version 7
(RFC 9562), so a tenant's task keys sort by creation time, and a list of a tenant's tasks needs no index of its own. A
request's API key alone decides its tenant. Without REQUIRE_KEYS, the tenant is `local`.
"""

import re
from typing import NewType

# A file's key: its tenant, a colon and a UUIDv7, used below the HTTP layer. Clients see only ids.
FileKey = NewType("FileKey", str)

_PREFIX = "file-"
FILE_ID_PATTERN = f"{_PREFIX}[0-9a-f]{{32}}"
_FILE_ID = re.compile(FILE_ID_PATTERN)


def file_id(key: FileKey) -> str:
    """Return the id of a file: `file-` and the UUID of its key without hyphens."""
    return _PREFIX + key.partition(":")[2].replace("-", "")


def file_key_of(tenant: str, name: str) -> FileKey | None:
    """Return the key of a tenant's file from the file's id, or None if the text is not a file id."""
    return FileKey(f"{tenant}:{_dashed(int(name.removeprefix(_PREFIX), 16))}") if _FILE_ID.fullmatch(name) else None


LOCAL = "local"
TENANT_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
# How many tenants one page of a request for all tenants shows, with one to three calls to D1 for each.
TENANTS_A_PAGE = 8
# How many of a tenant's newest tasks are counted in the tenant's figures; each task takes one row read.
TENANT_TASKS_MOST = 500
TENANT_TAKES = "1 to 63 lower-case letters, digits and hyphens, no hyphen first"

_TENANT = re.compile(TENANT_PATTERN)


def is_tenant(text: str) -> bool:
    """Whether the text is a valid name of a tenant. Task keys begin with the tenant's name and a colon."""
    return _TENANT.fullmatch(text) is not None


_ID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID = re.compile(_ID_PATTERN)
_KEY = re.compile(f"{TENANT_PATTERN}:{_ID_PATTERN}")
_RANDOM_BITS = 80
_BATCH = "batch_"
# A batch's id repeats the digits of its task's id, and so also the bits that mark a UUID of version 7.
BATCH_ID_PATTERN = "batch_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}"
_BATCH_ID = re.compile(BATCH_ID_PATTERN)

# A `TaskKey`, `<tenant>:<task id>`, names a task everywhere below the HTTP layer, in SQL too.
TaskKey = NewType("TaskKey", str)


def new_task_id(now_ms: int, entropy: bytes) -> str:
    """Build a task id from the creation time (milliseconds since the epoch) and 10 random bytes."""
    assert len(entropy) == 10
    stamp = (now_ms & ((1 << 48) - 1)) << _RANDOM_BITS
    random = int.from_bytes(entropy)
    low = (0b10 << 62) | (random & ((1 << 62) - 1))
    high = 0x7000 | (random >> 64 & 0xFFF)
    return _dashed(stamp | high << 64 | low)


def first_id(now_ms: int) -> str:
    """Return the lowest id of a task created at `now_ms`: ids of earlier tasks sort below it, later ones do not."""
    return _dashed((now_ms & ((1 << 48) - 1)) << _RANDOM_BITS)


def _dashed(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_task_id(text: str) -> bool:
    """Whether the text has the form of a task id."""
    return _ID.fullmatch(text) is not None


def task_key_of(tenant: str, task_id: str) -> TaskKey:
    """Return the task key for a tenant and a task id."""
    return TaskKey(f"{tenant}:{task_id}")


def read_task_key(text: str) -> TaskKey | None:
    """Return the text as a task key, or None if the text does not have the form of a task key."""
    return TaskKey(text) if _KEY.fullmatch(text) else None


def split_task_key(task_key: TaskKey) -> tuple[str, str]:
    """Return the tenant and the task id of a task key."""
    tenant, _, task_id = task_key.rpartition(":")
    return tenant, task_id


def batch_id(task_id: str) -> str:
    """Return the id of a batch in `/v1/batches`: `batch_` and the id of the batch's task without hyphens."""
    return _BATCH + task_id.replace("-", "")


def task_id_of_batch(text: str) -> str | None:
    """Return the id of a batch's task from the batch's id, or None if the text is not a batch id."""
    return _dashed(int(text.removeprefix(_BATCH), 16)) if _BATCH_ID.fullmatch(text) else None
