"""The names of a task and its parts below `/v1`: each name is a prefix and the task's id."""

from ...kernel.domain.ids import is_task_id

RESPONSE_PREFIX = "resp_"
MESSAGE_PREFIX = "msg_"
INPUT_PREFIX = "in_"


def response_id(task_id: str) -> str:
    """Return the name of a task as a response."""
    return RESPONSE_PREFIX + task_id


def task_id_of(name: str) -> str | None:
    """Return the id of the task that a response's name contains, None if the name is malformed."""
    task_id = name.removeprefix(RESPONSE_PREFIX)
    return task_id if task_id != name and is_task_id(task_id) else None


def message_id(task_id: str) -> str:
    """Return the name of a response's output message."""
    return MESSAGE_PREFIX + task_id


def input_id(task_id: str) -> str:
    """Return the name of a response's input message."""
    return INPUT_PREFIX + task_id
