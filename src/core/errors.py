"""The expected errors, each with a stable code and whether a retry can help.

These types describe what models, networks and databases do to us. Assertions guard against our own mistakes. No error
holds a client's text or a key.
"""

from collections.abc import Sequence
from typing import ClassVar

from .codes import TaskCode


class OnceoverError(Exception):
    """Base of every expected error. `code` is stable, `retryable` says whether trying again can help."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class ConfigurationError(OnceoverError):
    """A variable has a value that is not allowed. The message names the variable and the allowed values."""

    code = "bad_configuration"

    def __init__(self, variable: str, takes: str) -> None:
        super().__init__(f"{variable} must be {takes}")
        self.variable = variable


class ConfigurationFaults(ConfigurationError):
    """All bad variables of a deployment. The message has one sentence for each."""

    def __init__(self, faults: Sequence[ConfigurationError]) -> None:
        OnceoverError.__init__(self, ". ".join(map(str, faults)))
        self.variable = faults[0].variable
        self.faults = tuple(faults)


class ModelError(OnceoverError):
    """A model call gave no usable output. The message names the cause, never the text or the key.

    `answered` says that the provider answered, so it has counted the call. Without an answer the provider may have
    counted the call or not. `of_service` says that the cause is the service's, whatever the call. `delay_seconds` is
    how long the provider asks to wait, or None.
    """

    code = "model_error"
    answered: ClassVar[bool] = True
    of_service: ClassVar[bool] = False

    def __init__(self, message: str = "", delay_seconds: float | None = None) -> None:
        super().__init__(message)
        self.delay_seconds = delay_seconds


class ModelUnavailable(ModelError):
    """The provider answered 408, 409, 425 or 5xx, or has no capacity. Transient."""

    code = TaskCode.MODEL_UNAVAILABLE
    retryable = True
    of_service = True


class ModelTimeout(ModelError):
    """No reply came within AI_TIMEOUT_SECONDS. Transient. The provider may have done the work or seen nothing."""

    code = TaskCode.MODEL_TIMEOUT
    retryable = True
    answered = False
    of_service = True


class ModelConnectionLost(ModelError):
    """No HTTP reply came at all. Transient. We cannot tell whether the provider saw the call."""

    code = TaskCode.MODEL_CONNECTION_LOST
    retryable = True
    answered = False
    of_service = True


class CallerLost(ModelConnectionLost):
    """The caller was lost or ran out of time. The loss says nothing about the service."""

    of_service = False


class CallAborted(CallerLost):
    """A lane closed its connection because the call's task has ended. The provider may have counted the call."""


class ModelReplyMalformed(ModelError):
    """A 2xx reply had no usable output. Transient: models do recover."""

    code = TaskCode.MODEL_REPLY_MALFORMED
    retryable = True


class ModelRateLimited(ModelError):
    """The provider answered 429: wait `delay_seconds`, None if it named no time.

    Such an answer costs the chunk no attempt.
    """

    code = TaskCode.MODEL_RATE_LIMITED
    retryable = True


class CallNotStarted(ModelError):
    """An announced call was not made, because its start window or its claim ran out. No provider has seen it."""

    code = "not_started"
    retryable = True


class ModelRefused(ModelError):
    """The provider answered 400, 401, 403, 404 or similar.

    The provider would refuse the call again, so the task fails at once. `of_call`: it refused what this call says (400,
    413 or 422), and may accept another one.
    """

    code = TaskCode.MODEL_REFUSED

    def __init__(self, message: str = "", delay_seconds: float | None = None, *, of_call: bool = False) -> None:
        super().__init__(message, delay_seconds)
        self.of_call = of_call


class ModelQuotaExhausted(ModelRefused):
    """The provider's allowance is used up (Workers AI 3036).

    A used-up allowance is no outage, and no retry helps today.
    """

    code = TaskCode.MODEL_QUOTA_EXHAUSTED


class StructuredOutputUnsupported(ModelRefused):
    """The provider refused the field with the output schema, or the schema itself.

    The message names STRUCTURED_OUTPUT, which decides whether the field is sent.
    """

    code = TaskCode.STRUCTURED_OUTPUT_UNSUPPORTED


class StoreError(OnceoverError):
    """D1 refused a statement, which then changed nothing."""

    code = "database_error"
    retryable = True


class StoreUnavailable(StoreError):
    """D1 gave no result. A write may have landed all the same.

    `passing`: sending again may help. `sends` is how often the write was sent; this error followed the last send.
    `withdrawing` says that the withdrawal of a submission failed, so the submission may still land at any time.
    """

    code = "database_unavailable"
    passing: ClassVar[bool] = True
    sends = 1
    withdrawing = False


class StoreSilent(StoreUnavailable):
    """D1 gave no answer in time. Sending the call again at once would add to the load of D1."""


class StoreQuotaExhausted(StoreUnavailable):
    """The account's daily allowance of rows is used up. No call works before midnight UTC, so none is repeated."""

    code = "database_quota_exhausted"
    passing = False


class StoreFull(StoreUnavailable):
    """The database has no space for what a write would add, and that send changed nothing. Reads and erasures go on.

    Sending the write again at once does not help. There is space again when something is erased, or when the account
    gets more.
    """

    code = "storage_full"
    passing = False


class StoreCallsSpent(StoreUnavailable):
    """The platform takes no more database calls from this invocation. The next invocation may continue."""

    code = "database_calls_spent"
    passing = False


class SchemaMissing(StoreError):
    """The tables are missing: the migrations have not been applied."""

    code = "schema_missing"
    retryable = False


class TransitionRefused(OnceoverError):
    """The state machine has no transition from `source` to `target`."""

    code = "transition_refused"

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"a task that is {source} cannot become {target}")
        self.source = source
        self.target = target
