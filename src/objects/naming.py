"""Names of objects, and their names as hosts of a claim.

A task's own object and its coordinator have the task's key.
"""

from ..core.ids import TaskKey


def task_name(task_key: TaskKey) -> str:
    """Name the task's own object as a host. The name outlives each instance of the object."""
    return f"object/{task_key}"


def lane_name(task_key: TaskKey, number: int) -> str:
    """Name the object that is a lane of a task."""
    return f"{task_key}/lane-{number}"
