"""The interfaces that the project needs of a provider of models, and that a provider needs of the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from ..core.model_servers import Sending


class RejectedAnswer(NamedTuple):
    """An answer that did not fit the schema, and its faults: each a JSON pointer, and what was expected there.

    A call that asks again shows the model at most REJECTED_CHARS_MOST characters of the answer, and at most FAULTS_MOST
    faults.
    """

    output: str
    faults: Sequence[tuple[str, str]]


class OutputForm(NamedTuple):
    """The form that a call's output must have: a JSON object that `schema` allows.

    `schema` is the client's own document. OpenAI's API wants `name` and `strict` with a schema. `sending` says whether
    the schema is sent as a field, in the system message, or both. `rejected` is set if the model is asked again: the
    answer that did not fit.
    """

    schema: Mapping[str, object]
    name: str
    strict: bool
    sending: Sending
    rejected: RejectedAnswer | None = None

    @property
    def in_field(self) -> bool:
        """Whether the schema is sent as a field of the request, which a server may refuse."""
        return self.sending != "prompt"

    @property
    def in_prompt(self) -> bool:
        """Whether the schema is sent in the system message."""
        return self.sending != "native"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One model call. `user` is the text to work on, and `system` says what to do with it.

    If `max_output_tokens` or `temperature` is None, the provider's own value applies. `options` are further fields of
    the request. If `form` is None, the output is any text.

    `body` is a line of a batch, as the body of a chat completion without a model: the provider sends it as it is, in
    place of `system`, `user`, `temperature`, `options` and `form`. Its limit of tokens is called
    `max_completion_tokens`. If it has none, `max_output_tokens` applies. A call with a body gets the whole answer.
    """

    system: str
    user: str
    model: str
    max_output_tokens: int | None = None
    temperature: float | None = None
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    form: OutputForm | None = field(default=None, hash=False)
    body: Mapping[str, object] | None = field(default=None, hash=False)


class ModelReply(NamedTuple):
    """A model's usable output. The token counts are the provider's own, and 0 if it gives none.

    `finish_reason` is `stop`, `length`, `content_filter`, another word of the provider, or None if the provider gives
    none. `lane` is the number of the lane that made the call, None if the task's own worker made the call, or if the
    lane is unknown.

    `answer` is set for a call with a body: the whole answer as a chat completion, which may lack fields such as `id`.
    `output` is then empty.
    """

    output: str
    input_tokens: int
    output_tokens: int
    finish_reason: str | None = None
    lane: int | None = None
    answer: Mapping[str, object] | None = None


class Health(NamedTuple):
    """What `GET /api/ai-status` answers about the health of the model.

    `detail` is for people and contains no secret.
    """

    status: Literal["healthy", "degraded", "unavailable"]
    detail: str


class Provider(Protocol):
    """A service that answers model calls. Implementations: `demo`, `openai`, `workers_ai`."""

    name: str
    default_model: str

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call once, without retries. Failures are raised as subclasses of `ModelError`.

        The code that awaits `infer` limits its time by cancelling it: see `processing.caller.call_model`.
        """
        ...

    async def probe(self) -> Health:
        """Check whether model calls would work, without making a paid one. Never raises a `ModelError`."""
        ...


class HttpReply(NamedTuple):
    """A whole HTTP reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpError(Exception):
    """Raised if a request got no whole HTTP reply."""


class HttpTimeout(HttpError):
    """The time limit of a request passed before the whole reply arrived."""


class HttpConnectionLost(HttpError):
    """The connection was refused or reset, or the name has no address.

    The server may have received the request although the connection was lost.
    """


class HttpReplyTooLarge(HttpError):
    """Raised if an HTTP reply is larger than `max_reply_bytes`. Reading stopped there."""


class HttpClient(Protocol):
    """Sends HTTP requests for providers. The package `platform` implements the protocol `HttpClient` over `fetch`."""

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
