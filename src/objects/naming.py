"""Names of objects, and of the hosts that they are to a claim."""


def task_name(task_id: str) -> str:
    """Name the host that a task's own object is. It outlives each instance of the object."""
    return f"object/{task_id}"
