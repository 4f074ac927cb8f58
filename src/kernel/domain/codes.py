"""The codes of failures of tasks and of their calls. Those of problems are in `api.base.problems`."""

from enum import StrEnum
from typing import Final


class TaskCode(StrEnum):
    """Why a task, a chunk or a call failed, as `error.code` and `lastError.code` show it."""

    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_TIMEOUT = "model_timeout"
    MODEL_CONNECTION_LOST = "model_connection_lost"
    MODEL_REPLY_MALFORMED = "model_reply_malformed"
    MODEL_RATE_LIMITED = "model_rate_limited"
    MODEL_REFUSED = "model_refused"
    MODEL_MISCONFIGURED = "model_misconfigured"
    MODEL_QUOTA_EXHAUSTED = "model_quota_exhausted"
    STRUCTURED_OUTPUT_UNSUPPORTED = "structured_output_unsupported"
    WORKER_CRASHED = "worker_crashed"
    DEAD_LETTERED = "dead_lettered"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    BUDGET_EXHAUSTED = "budget_exhausted"
    COST_EXHAUSTED = "cost_exhausted"
    INVALID_OUTPUT = "invalid_output"
    OUTPUT_TRUNCATED = "output_truncated"
    TOO_MANY_GAPS = "too_many_gaps"
    INVALID_BATCH = "invalid_batch"
    INVALID_INPUT = "invalid_input"
    INPUT_MISSING = "input_missing"


TASK_CODES: Final = {
    TaskCode.MODEL_UNAVAILABLE: "The provider answered 408, 409, 425 or 5xx, or has no capacity. Tried again.",
    TaskCode.MODEL_TIMEOUT: "No reply came within AI_TIMEOUT_SECONDS. Tried again; the provider may bill the call.",
    TaskCode.MODEL_CONNECTION_LOST: "No HTTP reply came, or the worker that made the call was lost. Tried again.",
    TaskCode.MODEL_REPLY_MALFORMED: "The reply has no usable output. Tried again.",
    TaskCode.MODEL_RATE_LIMITED: "The provider answered 429. Tried again after its `Retry-After`; costs no attempt.",
    TaskCode.MODEL_REFUSED: "The provider answered 400, 404, 422 or the like. The task fails at once.",
    TaskCode.MODEL_MISCONFIGURED: (
        "The provider refused the deployment's key (401, 403), does not know its default model, or redirects. The task "
        "fails at once; retry it once the configuration is correct."
    ),
    TaskCode.MODEL_QUOTA_EXHAUSTED: (
        "The provider's quota is used up. The task fails at once, but waits for the allowance of a day."
    ),
    TaskCode.STRUCTURED_OUTPUT_UNSUPPORTED: (
        "The provider does not accept the output schema: see `STRUCTURED_OUTPUT`. The task fails at once."
    ),
    TaskCode.WORKER_CRASHED: "Several claims of the task in a row ended without a finished call.",
    TaskCode.DEAD_LETTERED: "The task's message used up its deliveries.",
    TaskCode.DEADLINE_EXCEEDED: "The task was not finished by its `deadlineSeconds`.",
    TaskCode.BUDGET_EXHAUSTED: "The task needs more calls than its `maxModelCalls`. A retry may set a larger one.",
    TaskCode.COST_EXHAUSTED: "The next call may exceed the task's `maxCost`. A retry may set a larger one.",
    TaskCode.INVALID_OUTPUT: "The output does not fit `outputSchema`, and asking again did not help.",
    TaskCode.OUTPUT_TRUNCATED: "The output was cut off, so it does not fit `outputSchema`. It is not asked for again.",
    TaskCode.TOO_MANY_GAPS: "Gaps have more than `maxGapShare` of the characters; the message names the cause.",
    TaskCode.INVALID_BATCH: "A line of the batch's input file is not valid, or cannot be read. It was not called.",
    TaskCode.INVALID_INPUT: (
        "The file of `inputFile` is not UTF-8, has no text, or needs too many chunks or repeats. No call was made."
    ),
    TaskCode.INPUT_MISSING: (
        "The file of `inputFile` is gone, or its bytes: not in the bucket for 15 minutes, or not readable for a day."
    ),
}

# Failures for a cause of the service: they degrade the health that the deployment shows.
OF_SERVICE: Final = frozenset(
    {
        TaskCode.MODEL_UNAVAILABLE,
        TaskCode.MODEL_TIMEOUT,
        TaskCode.MODEL_CONNECTION_LOST,
        TaskCode.MODEL_REPLY_MALFORMED,
        TaskCode.MODEL_MISCONFIGURED,
        TaskCode.MODEL_QUOTA_EXHAUSTED,
    }
)
