"""The interfaces that the project requires of a provider of models, and that a provider requires of the network."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from ..domain.ids import TaskKey
from ..domain.settings import Sending
from ..domain.structure import Quote, Rejection

_NO_OPTIONS: Mapping[str, object] = {}


class OutputForm(NamedTuple):
    """The form that a call's output must have: a JSON object that `schema` allows.

    `name` and `strict` are what OpenAI's API requires in addition to a schema.
    """

    schema: Mapping[str, object]  # The client's own document.
    name: str
    strict: bool
    sending: Sending  # Whether the schema is sent in a field, in the system message, or in both.
    rejected: Rejection | None = None  # The answer that did not fit, and its faults, if the model is asked again.

    @property
    def in_field(self) -> bool:
        """Whether the schema is sent in a field of the request, which a server may refuse."""
        return self.sending != "prompt"

    @property
    def in_prompt(self) -> bool:
        """Whether the schema is sent in the system message."""
        return self.sending != "native"


class ModelCall(NamedTuple):
    """One model call. `user` is the text to work on, and `system` says what to do with it.

    If `max_output_tokens` or `temperature` is None, the provider's own value applies. `options` are further fields of
    the request. If `form` is None, the output may be any text.

    `body` is a line of a batch, in the form of a chat completion's body without a model. The provider sends this body
    unchanged, instead of `system`, `user`, `temperature`, `options` and `form`, and the reply contains the whole
    answer. If `body` has no `max_completion_tokens`, `max_output_tokens` applies.

    `task_key` names the task to Cloudflare's AI Gateway.
    """

    system: str
    user: str
    model: str
    max_output_tokens: int | None = None
    temperature: float | None = None
    options: Mapping[str, object] = _NO_OPTIONS
    form: OutputForm | None = None
    body: Mapping[str, object] | None = None
    task_key: TaskKey | None = None


class ModelReply(NamedTuple):
    """A model's usable output. The token counts are those that the provider reports, and 0 if it reports none.

    `answer` is set for a call with a body: the whole answer as a chat completion, which may lack fields such as `id`.
    `output` is then empty.
    """

    output: str
    input_tokens: int
    output_tokens: int
    finish_reason: str | None = None  # `stop`, `length`, `content_filter`, another word of the provider; None: unnamed.
    lane: int | None = None  # The lane that made the call; None for the task's own worker, or if it is unknown.
    answer: Mapping[str, object] | None = None
    repaired: bool = False  # Whether the output was corrected to fit the task's schema.
    quotes: tuple[Quote, ...] = ()  # The output's values that are the input's own text.
    quotes_missed: int = 0  # How many other quotes were not found in the input.
    cached_tokens: int = 0  # How many tokens of the input were in the provider's cache.
    from_cache: bool = False  # Whether the answer came from the cache of the AI Gateway, without a call of the model.


class Health(NamedTuple):
    """What `GET /api/ai-status` answers about the model. `detail` is for people, and contains no secret."""

    status: Literal["healthy", "degraded", "unavailable"]
    detail: str


class Provider(Protocol):
    """A service that answers model calls. Implementations: `demo`, `openai`, `workers_ai`."""

    name: str
    default_model: str

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call once. The caller limits its time by cancelling. Raises `ModelError`."""
        ...

    async def probe(self) -> Health:
        """Check whether model calls would work, without a call that costs money. Never raises a `ModelError`."""
        ...


class HttpReply(NamedTuple):
    """A whole HTTP reply. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpError(Exception):
    """Raised if a request did not get a whole HTTP reply."""


class HttpTimeout(HttpError):
    """The time limit of a request was over before the whole reply had arrived."""


class HttpConnectionLost(HttpError):
    """The connection was refused or reset, or the name has no address. The server may have got the request."""


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
