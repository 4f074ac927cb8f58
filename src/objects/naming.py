"""Names of objects, and of the hosts that they are to a claim. A task's own object and its coordinator have its key."""

from ..core.ids import TaskKey


def task_name(task_key: TaskKey) -> str:
    """Name the host that a task's own object is. It outlives each instance of the object."""
    return f"object/{task_key}"


def lane_name(task_key: TaskKey, number: int) -> str:
    """Name the object that is a lane of a task."""
    return f"{task_key}/lane-{number}"
