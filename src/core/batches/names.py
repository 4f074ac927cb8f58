"""The id of a batch, which follows from the id of its task: `batch_` and the task's UUID without hyphens."""

from ..ids import is_task_id

BATCH_PREFIX = "batch_"
BATCH_ID_PATTERN = "batch_[0-9a-f]{32}"


def batch_id(task_id: str) -> str:
    """Return the id of the batch with this task."""
    return BATCH_PREFIX + task_id.replace("-", "")


def task_id_of(name: str) -> str | None:
    """Return the id of the task of a batch, None if the text is no id of a batch."""
    digits = name.removeprefix(BATCH_PREFIX)
    if not name.startswith(BATCH_PREFIX) or len(digits) != 32:
        return None
    task_id = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return task_id if is_task_id(task_id) else None
