"""Makes the names of Durable Objects, and the name under which a task's object is the host of a claim.

A task's object and the task's coordinator have the task's key as their name.
"""

from ..kernel.domain.ids import TaskKey


def task_name(task_key: TaskKey) -> str:
    """Return the name under which a task's object is the host of a claim.

    All instances of a task's object have the same name.
    """
    return f"object/{task_key}"


def lane_name(task_key: TaskKey, number: int) -> str:
    """Return the name of the object that is the task's lane with the given number."""
    return f"{task_key}/lane-{number}"
