"""Names Durable Objects, and names a task's object as the host of a claim.

The name of a task's object and of its coordinator is the task's key.
"""

from ..core.ids import TaskKey


def task_name(task_key: TaskKey) -> str:
    """Return the name of a task's object as the host of a claim. Each instance of a task's object has the same name."""
    return f"object/{task_key}"


def lane_name(task_key: TaskKey, number: int) -> str:
    """Return the name of the object that is a task's lane with the given number."""
    return f"{task_key}/lane-{number}"
