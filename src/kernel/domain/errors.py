"""The errors that the code expects; each has a stable code.

Mistakes of our own code raise AssertionError instead. No error's message contains text of a client or an API key.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from .codes import TaskCode


class OnceoverError(Exception):
    """The base of every expected error. `code` never changes."""

    code: ClassVar[str] = "internal"


class ConfigurationError(OnceoverError):
    """A variable has a value that is not allowed. The message names it and the allowed values."""

    code = "bad_configuration"

    def __init__(self, variable: str, takes: str) -> None:
        super().__init__(f"{variable} must be {takes}")
        self.variable = variable


class ConfigurationFaults(ConfigurationError):
    """One or more variables have bad values. The message has a sentence for each."""

    def __init__(self, faults: Sequence[ConfigurationError]) -> None:
        OnceoverError.__init__(self, ". ".join(map(str, faults)))
        self.variable = faults[0].variable
        self.faults = tuple(faults)


class ModelError(OnceoverError):
    """Raised if a model call gave no usable output.

    `retryable` says whether another try can help. `answered` says that the provider answered the call, and so has
    counted it; else it may have. `of_service` says that the likely cause is the model service, and not the call.
    `delay_seconds` is how long the provider asks us to wait. `tokens` are the input, the output and the cached input of
    an answer with the status 2xx, 0 if the provider reports none. They are None without such an answer.
    """

    code = "model_error"
    retryable: ClassVar[bool] = False
    answered: ClassVar[bool] = True
    of_service: ClassVar[bool] = False

    def __init__(self, message: str = "", delay_seconds: float | None = None) -> None:
        super().__init__(message)
        self.delay_seconds = delay_seconds
        self.tokens: tuple[int, int, int] | None = None


class ModelUnavailable(ModelError):
    """The provider answered 408, 409, 425 or 5xx, or has no capacity. Transient."""

    code = TaskCode.MODEL_UNAVAILABLE
    retryable = True
    of_service = True


class ModelTimeout(ModelError):
    """A model call got no reply within AI_TIMEOUT_SECONDS. The provider may have worked on it."""

    code = TaskCode.MODEL_TIMEOUT
    retryable = True
    answered = False
    of_service = True


class ModelConnectionLost(ModelError):
    """A model call got no HTTP reply at all. The provider may or may not have seen the call."""

    code = TaskCode.MODEL_CONNECTION_LOST
    retryable = True
    answered = False
    of_service = True


class CallerLost(ModelConnectionLost):
    """The worker or lane that made a model call was lost or ran out of time; the model service may be well."""

    of_service = False


class CallAborted(CallerLost):
    """A lane closed a call's connection, because its task has ended. The provider may have counted the call."""


class ModelReplyMalformed(ModelError):
    """The provider answered a model call with 2xx, but without usable output. Transient: models do recover."""

    code = TaskCode.MODEL_REPLY_MALFORMED
    retryable = True


class ModelRateLimited(ModelError):
    """The provider answered 429; it costs no attempt. `delay_seconds` is None if it named no time to wait."""

    code = TaskCode.MODEL_RATE_LIMITED
    retryable = True


class CallNotStarted(ModelError):
    """An announced call was not made, because its time to start or its claim ran out. No provider saw it."""

    code = "not_started"
    retryable = True


class ModelRefused(ModelError):
    """The provider answered 400, 401, 403, 404 or similar.

    It would refuse the same call again, so the task fails at once. `of_call` says that it refused the content of this
    call (400, 413 or 422), and may accept another. `answer` is set for a line of a batch: the provider's HTTP status
    and the body of its refusal, without the API key.
    """

    code = TaskCode.MODEL_REFUSED

    def __init__(
        self,
        message: str = "",
        delay_seconds: float | None = None,
        *,
        of_call: bool = False,
        answer: tuple[int, object] | None = None,
    ) -> None:
        super().__init__(message, delay_seconds)
        self.of_call = of_call
        self.answer = answer


class ModelMisconfigured(ModelRefused):
    """The key, the default model or the address is refused, for all tasks. After a correction they can be retried."""

    code = TaskCode.MODEL_MISCONFIGURED


class ModelQuotaExhausted(ModelRefused):
    """Raised if the account's quota is used up, and its renewal is not known (OpenAI's `insufficient_quota`)."""

    code = TaskCode.MODEL_QUOTA_EXHAUSTED


class ModelDayUsedUp(ModelError):
    """An allowance with a known reset is used up. It costs no attempt.

    The reset is after `delay_seconds` (a gateway's budget), or at midnight UTC (Workers AI 3036, 4006).
    """

    code = TaskCode.MODEL_QUOTA_EXHAUSTED
    retryable = True


class StructuredOutputUnsupported(ModelRefused):
    """The provider refused the field with the schema, or the schema. The message names STRUCTURED_OUTPUT."""

    code = TaskCode.STRUCTURED_OUTPUT_UNSUPPORTED


class StoreError(OnceoverError):
    """D1 refused an SQL statement, which therefore changed nothing."""

    code = "database_error"


class StoreUnavailable(StoreError):
    """D1 gave no result for a call, whose write may or may not have taken effect.

    `passing` says that the same call may succeed if it is sent again. `sends` is how often the write was sent.
    `withdrawing` says that a new task could not be withdrawn, so its write may still take effect at any time.
    """

    code = "database_unavailable"
    passing: ClassVar[bool] = True
    sends = 1
    withdrawing = False


class StoreSilent(StoreUnavailable):
    """Raised if D1 gave no answer in time. Sending the call again at once would only add to the load of D1."""


class StoreQuotaExhausted(StoreUnavailable):
    """The account's daily allowance of D1 rows is used up. No call works before midnight UTC, so none is resent."""

    code = "database_quota_exhausted"
    passing = False


class StoreFull(StoreUnavailable):
    """The database has no space for the rows that a write would add. It still allows reads and erasures.

    The last send changed nothing, and another at once does not help.
    """

    code = "storage_full"
    passing = False


class StoreCallsSpent(StoreUnavailable):
    """The platform takes no more database calls from this invocation. The next invocation may continue."""

    code = "database_calls_spent"
    passing = False


class CapRefused(StoreError):
    """A tenant's cap refused a write, which changed nothing. `lacks_price` says that a price lacks."""

    code = "cost_limit"
    passing: ClassVar[bool] = False
    sends = 1

    def __init__(self, *, lacks_price: bool) -> None:
        super().__init__("the tenant's cap refused the write")
        self.lacks_price = lacks_price


class SchemaMissing(StoreError):
    """The database lacks its tables, because the migrations have not been applied."""

    code = "schema_missing"


class MemoryShort(OnceoverError):
    """The other requests and runs of the isolate hold so much memory that there is none for this one now."""

    code = "memory_short"


class BlobUnavailable(OnceoverError):
    """The bucket of files (R2) did not answer, or refused. A write may have taken effect, or may still."""

    code = "files_unavailable"


class BlobMissing(OnceoverError):
    """A part of a file is missing in the bucket, although a row of the database names the part."""

    code = "file_part_missing"


class TextFileGone(OnceoverError):
    """The file of a new task is gone, has expired, or is not for texts. The task was not written."""

    code = "text_file_gone"


class NotJoinable(OnceoverError):
    """Outputs cannot be joined without a model call: at `pointer` in the output, for `reason`, a sentence."""

    code = "not_joinable"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer = pointer
        self.reason = reason


# The platform's texts for a used-up daily allowance, as of November 2026: for D1 "Your account has exceeded D1's free
# tier daily row write limit" (Debug D1, List of D1_ERRORs); for Durable Objects "Exceeded allowed duration in Durable
# Objects free tier" and the like; for Queues the error code 10253, FreeTierLimitExceeded (Queues error codes).
_USED_UP = re.compile(r"free[ _-]?tier|\b10253\b", re.IGNORECASE)
_DAY_MS = 86_400_000


def is_used_up(message: str) -> bool:
    """Whether an error says that a daily allowance of the free plan is used up, which is no outage."""
    return _USED_UP.search(message) is not None


def seconds_since_reset(now_ms: int) -> float:
    """Return the seconds since midnight UTC."""
    return now_ms % _DAY_MS / 1000


def seconds_until_reset(now_ms: int) -> int:
    """Return the seconds until midnight UTC, when all daily allowances begin anew."""
    return -(-(_DAY_MS - now_ms % _DAY_MS) // 1000)
