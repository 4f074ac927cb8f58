"""The interface that the project needs of a model provider, and the one that a provider needs of the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from ..core.model_servers import Sending


class RejectedAnswer(NamedTuple):
    """An answer that its schema refused, and the faults that were found: a JSON pointer and what was expected there.

    A call shows the model at most REJECTED_CHARS_MOST of the answer, and at most FAULTS_MOST faults.
    """

    output: str
    faults: Sequence[tuple[str, str]]


class OutputForm(NamedTuple):
    """The form that a call's output must have: a JSON object that `schema` allows.

    `schema` is the client's own document, `name` and `strict` are what OpenAI's API wants with it. `sending` says how
    the server learns of the schema. `rejected` is the answer before, if the model is asked again.
    """

    schema: Mapping[str, object]
    name: str
    strict: bool
    sending: Sending
    rejected: RejectedAnswer | None = None

    @property
    def in_field(self) -> bool:
        """Whether the schema goes into the request as a field of its own, which a server may refuse."""
        return self.sending != "prompt"

    @property
    def in_prompt(self) -> bool:
        """Whether the schema goes into the system message."""
        return self.sending != "native"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call. `user` is only the text to work on, `system` is what to do with it.

    If `max_output_tokens` or `temperature` is None, the provider's own value applies. `options` are further fields of
    the request. If `form` is None, the output is any text.
    """

    system: str
    user: str
    model: str
    max_output_tokens: int | None = None
    temperature: float | None = None
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    form: OutputForm | None = field(default=None, hash=False)


class ModelReply(NamedTuple):
    """A usable output. Token counts are the provider's own, 0 if it gives none.

    `finish_reason` is `stop`, `length`, `content_filter`, the provider's own word, or None without one. `lane` is the
    number of the lane that made the call; None means that the task's own worker made it, or that it is unknown.
    """

    output: str
    input_tokens: int
    output_tokens: int
    finish_reason: str | None = None
    lane: int | None = None


class Health(NamedTuple):
    """The contents of the answer to `GET /api/ai-status`. `detail` is for people and contains no secret."""

    status: Literal["healthy", "degraded", "unavailable"]
    detail: str


class Provider(Protocol):
    """A service that answers model calls. Implementations: `demo`, `openai`, `workers_ai`."""

    name: str
    default_model: str

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call once, without retries. The method raises only `ModelError` subclasses of its own.

        The caller limits the time of the call and cancels it then: see `processing.caller.call_model`.
        """
        ...

    async def probe(self) -> Health:
        """Say whether calls would work, without making a paid one. Never raises a `ModelError`."""
        ...


class HttpReply(NamedTuple):
    """A whole HTTP reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpError(Exception):
    """No whole HTTP reply came."""


class HttpTimeout(HttpError):
    """The time ran out before the whole reply arrived."""


class HttpConnectionLost(HttpError):
    """Refused, reset or unresolvable. The server may have got the request or not."""


class HttpReplyTooLarge(HttpError):
    """The reply passed the size that the caller allowed. Reading stopped there."""


class HttpClient(Protocol):
    """The network, as providers see it. The platform implements it over `fetch`."""

    async def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: str | None,
        timeout_seconds: float | None,
        max_reply_bytes: int,
    ) -> HttpReply:
        """Send a request once and read the whole reply. Raises an `HttpError` subclass."""
        ...
