"""What `/v1` calls a task and what belongs to it: each name is a prefix and the task's own id."""

from ...core.ids import is_task_id

RESPONSE_PREFIX = "resp_"
MESSAGE_PREFIX = "msg_"
INPUT_PREFIX = "in_"


def response_id(task_id: str) -> str:
    """Name a task."""
    return RESPONSE_PREFIX + task_id


def task_id_of(name: str) -> str | None:
    """Return the id of the task that a response's name stands for; None for what can be no response's."""
    task_id = name.removeprefix(RESPONSE_PREFIX)
    return task_id if task_id != name and is_task_id(task_id) else None


def message_id(task_id: str) -> str:
    """Name the message that a response puts out."""
    return MESSAGE_PREFIX + task_id


def input_id(task_id: str) -> str:
    """Name the message that a response was given."""
    return INPUT_PREFIX + task_id


def response_path(task_id: str) -> str:
    """Return the path of a response."""
    return f"/v1/responses/{response_id(task_id)}"
