"""The status of a batch in OpenAI's words, which follows from its task and from whether its files are complete."""

from enum import StrEnum

from ...kernel.domain.task import Status


class BatchStatus(StrEnum):
    """The state of a batch, in the words of OpenAI's API."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


# A batch with one of these statuses does not change any more.
ENDED = frozenset({BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED})


def batch_status(task: Status, *, is_valid: bool, is_expired: bool, has_ended: bool) -> BatchStatus:
    """Return a batch's status. `is_valid`: each line is valid. `is_expired`: its task failed by the deadline.

    `has_ended`: its files are complete.
    """
    if not task.terminal:
        return BatchStatus.IN_PROGRESS if is_valid else BatchStatus.VALIDATING
    if not has_ended:
        return BatchStatus.CANCELLING if task is Status.CANCELLED else BatchStatus.FINALIZING
    if task is Status.FAILED and is_expired:
        return BatchStatus.EXPIRED
    return BatchStatus(task)
