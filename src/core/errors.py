"""The errors of the world, each with a stable code and whether trying again can help.

Assertions guard against our own mistakes; these types are for what models, networks and
databases do to us. Nothing in here carries a client's text or a key.
"""

from collections.abc import Sequence
from typing import ClassVar

from .codes import TaskCode


class OnceoverError(Exception):
    """Base of every expected failure: `code` is stable, `retryable` says whether trying again can help."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class ConfigurationError(OnceoverError):
    """A variable has a value that it cannot take; the message names the variable and what it takes."""

    code = "bad_configuration"

    def __init__(self, variable: str, takes: str) -> None:
        super().__init__(f"{variable} must be {takes}")
        self.variable = variable


class ConfigurationFaults(ConfigurationError):
    """All the bad variables of a deployment; the message has a sentence for each."""

    def __init__(self, faults: Sequence[ConfigurationError]) -> None:
        OnceoverError.__init__(self, ". ".join(map(str, faults)))
        self.variable = faults[0].variable
        self.faults = tuple(faults)


class ModelError(OnceoverError):
    """A model call that gave no usable output. The message names the cause, never the text or the key.

    `answered`: the provider said so itself, so it has counted the call. Otherwise nobody knows. `of_service`: the
    cause is the service's, whatever the call. `delay_seconds`: how long the provider asks to wait, if it says so.
    """

    code = "model_error"
    answered: ClassVar[bool] = True
    of_service: ClassVar[bool] = False

    def __init__(self, message: str = "", delay_seconds: float | None = None) -> None:
        super().__init__(message)
        self.delay_seconds = delay_seconds


class ModelUnavailable(ModelError):
    """408, 409, 425, 5xx or no capacity: transient."""

    code = TaskCode.MODEL_UNAVAILABLE
    retryable = True
    of_service = True


class ModelTimeout(ModelError):
    """No reply within AI_TIMEOUT_SECONDS: transient. The provider may have done the work, or have seen nothing."""

    code = TaskCode.MODEL_TIMEOUT
    retryable = True
    answered = False
    of_service = True


class ModelConnectionLost(ModelError):
    """No HTTP reply at all: transient, and unknown whether the provider saw the call."""

    code = TaskCode.MODEL_CONNECTION_LOST
    retryable = True
    answered = False
    of_service = True


class CallerLost(ModelConnectionLost):
    """Whoever made the call was lost, or had no more time for it: it says nothing of the service."""

    of_service = False


class CallAborted(CallerLost):
    """A lane was told that the call's task has ended, and closed its connection: it may have been counted."""


class ModelReplyMalformed(ModelError):
    """A 2xx reply without a usable output in it: transient, models do recover."""

    code = TaskCode.MODEL_REPLY_MALFORMED
    retryable = True


class ModelRateLimited(ModelError):
    """429: wait `delay_seconds` (None when the provider did not say). Costs the chunk no attempt."""

    code = TaskCode.MODEL_RATE_LIMITED
    retryable = True


class CallNotStarted(ModelError):
    """The call was announced and, its time having passed or its claim, not made: no provider has seen it."""

    code = "not_started"
    retryable = True


class ModelRefused(ModelError):
    """400, 401, 403, 404 and their like: the same call will be refused again, so the task fails at once."""

    code = TaskCode.MODEL_REFUSED


class ModelQuotaExhausted(ModelRefused):
    """The provider's allowance is used up (Workers AI 3036): not an outage, and no retry helps today."""

    code = TaskCode.MODEL_QUOTA_EXHAUSTED


class StoreError(OnceoverError):
    """D1 did not do what it was asked to: it refused a statement, and nothing has come of it."""

    code = "database_error"
    retryable = True


class StoreUnavailable(StoreError):
    """D1 gave no result. A write may have landed all the same.

    `passing`: sending again may help. `sends`: how often it was sent, with this error after the last time.
    `withdrawing`: it was the withdrawal of a submission that failed, so that may land at any time.
    """

    code = "database_unavailable"
    passing: ClassVar[bool] = True
    sends = 1
    withdrawing = False


class StoreSilent(StoreUnavailable):
    """D1 gave no answer in time. To send again at once would add to what keeps it busy."""


class StoreQuotaExhausted(StoreUnavailable):
    """The account's daily allowance of rows is used up: nothing works before midnight UTC, so nothing is repeated."""

    code = "database_quota_exhausted"
    passing = False


class StoreFull(StoreUnavailable):
    """The database has no room for what a write would add; nothing has come of that send. Reads and erasures go on.

    To send again at once is no use: room comes when something is erased, or when the account has more.
    """

    code = "storage_full"
    passing = False


class StoreCallsSpent(StoreUnavailable):
    """The platform takes no more calls from this invocation; the next one may go on."""

    code = "database_calls_spent"
    passing = False


class SchemaMissing(StoreError):
    """The tables are not there: the migrations have not been applied."""

    code = "schema_missing"
    retryable = False


class TransitionRefused(OnceoverError):
    """The state machine has no such arrow: `source` cannot become `target`."""

    code = "transition_refused"

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"a task that is {source} cannot become {target}")
        self.source = source
        self.target = target
