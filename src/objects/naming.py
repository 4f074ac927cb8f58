"""Names of objects, and of the hosts that they are to a claim."""

from ..core.ids import TaskKey


def task_name(task_key: TaskKey) -> str:
    """Name the host that a task's own object is. It outlives each instance of the object."""
    return f"object/{task_key}"
