"""A folder in memory for the state of a server whose CPU time is measured.

The meter counts the wall time of a turn. The first call of a Durable Object creates the object's database within the
caller's turn, and `deleteAll` deletes the database within a turn, so a wait for the disk would count as CPU time. On
the platform both happen on another machine.
"""

import shutil
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory; each use makes a private folder in it
BYTES_LEAST = 1 << 30


def memory_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder, in memory if the machine has 1 GiB of it for files, or else on the disk."""
    is_large = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= BYTES_LEAST
    return tempfile.TemporaryDirectory(dir=SHARED_MEMORY if is_large else None)
