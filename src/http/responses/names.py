"""The names of a task and its parts in `/v1`: each name is a prefix and the task's own id."""

from ...core.ids import is_task_id

RESPONSE_PREFIX = "resp_"
MESSAGE_PREFIX = "msg_"
INPUT_PREFIX = "in_"


def response_id(task_id: str) -> str:
    """Name a task."""
    return RESPONSE_PREFIX + task_id


def task_id_of(name: str) -> str | None:
    """Return the id of the task that a response's name means. None: the name is malformed."""
    task_id = name.removeprefix(RESPONSE_PREFIX)
    return task_id if task_id != name and is_task_id(task_id) else None


def message_id(task_id: str) -> str:
    """Name the output message of a response."""
    return MESSAGE_PREFIX + task_id


def input_id(task_id: str) -> str:
    """Name the input message of a response."""
    return INPUT_PREFIX + task_id


def response_path(task_id: str) -> str:
    """Return the path of a response."""
    return f"/v1/responses/{response_id(task_id)}"
