"""Sends requests to one deployment. A request returns JSON, or raises an error that says what to do."""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import httpx2

from . import __version__
from .errors import CommandError, ServerRefused, Unreachable
from .shapes import Json

DEFAULT_URL = "http://127.0.0.1:8787"
CONNECT_SECONDS = 10.0
# How many seconds to wait for an answer: longer than a poll with `wait` or a cancellation, which may take up to 25 s.
READ_SECONDS = 40.0
UPLOAD_SECONDS = 600.0  # How many seconds one piece of an upload, or its answer, may take.
EVENT_BYTES_MOST = 64_000_000  # the last event of a stream has the task's whole result
# How many seconds a stream may be silent: the server sends at least a comment every 15 s.
EVENT_SILENCE_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Address:
    """A deployment's URL without a final slash, and an API key for the deployment."""

    url: str
    key: str | None = field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether a deployment's URL is of this machine, as under `make dev`."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}

    @property
    def is_open(self) -> bool:
        """Whether a key that is sent to the URL could be read by others on the network."""
        return not self.is_local and urlsplit(self.url).scheme != "https"


def place(url: str | None, key: str | None) -> Address:
    """Check a deployment's URL and an API key, and return both as an `Address`. Raises `CommandError`."""
    text = (url or DEFAULT_URL).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or "@" in text or "?" in text or "#" in text:
        message = (
            f"{text!r} is not a deployment's URL: it must be like {DEFAULT_URL}, or https://onceover.NAME.workers.dev"
        )
        raise CommandError(message)
    secret = (key or "").strip() or None
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise CommandError("ONCEOVER_KEY is not a key: a key is like oo_0123456789abcdef_…, without spaces")
    return Address(text, secret)


class ApiClient:
    """Sends requests to one deployment, as a context manager. `transport` is for tests.

    `tenant` names the tenant to act on, if it is not the key's own. Every request then names this tenant.
    """

    def __init__(
        self, where: Address, transport: httpx2.BaseTransport | None = None, *, tenant: str | None = None
    ) -> None:
        self.where = where
        self.tenant = tenant
        headers = {"User-Agent": f"onceover-cli/{__version__}", "Accept": "application/json"}
        if where.key is not None:
            headers["Authorization"] = f"Bearer {where.key}"
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        # A server on this machine, which is asked without TLS and without a proxy, needs none of the certificates whose
        # loading takes longer than a request.
        is_plain = where.is_local and urlsplit(where.url).scheme == "http"
        # Redirects are not followed, because they would carry the API key to another host. The environment's proxy is
        # used for every address except this machine, which a proxy cannot reach.
        try:
            self._http = httpx2.Client(
                base_url=where.url,
                headers=headers,
                timeout=timeout,
                transport=transport,
                trust_env=not where.is_local,
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else True,
            )
        except (ImportError, ValueError) as error:
            name = proxy_variable(where) or "ALL_PROXY"
            raise CommandError(f"the proxy that {name} names cannot be used: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    @contextmanager
    def acting_for(self, tenant: str) -> Iterator[Self]:
        """Name another tenant in the requests that are sent within the `with` block."""
        before, self.tenant = self.tenant, tenant
        try:
            yield self
        finally:
            self.tenant = before

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Send a GET request, and return its answer's JSON."""
        return self.ask("GET", path, params=params)

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a request, and return its answer's JSON, empty for 204. Raises `Unreachable` and `ServerRefused`."""
        return read_answer(self.send(method, path, params=params, json=body, headers=headers))

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        seconds: float = READ_SECONDS,
        **sent: Any,
    ) -> httpx2.Response:
        """Send a request, and return its answer, whatever its status. Raises `Unreachable` after so many seconds."""
        timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
        with self._errors():
            return self._http.request(method, path, params=self._named(params), timeout=timeout, **sent)

    def fetch(self, path: str, params: Mapping[str, str]) -> httpx2.Response:
        """Send a GET request for bytes, and return the whole answer. Raises what `ask` raises."""
        with self._errors():
            response = self._http.get(path, params=self._named(params))
        if not response.is_success:
            read_answer(response)
        return response

    def upload(self, path: str, form: Mapping[str, str], name: str, content: bytes) -> Json:
        """Send a file with the fields of a form, and return the answer's JSON. Raises what `ask` raises."""
        timeout = httpx2.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        with self._errors():
            response = self._http.request(
                "POST",
                path,
                params=self._named(None),
                data=dict(form),
                files={"file": (name, content)},
                timeout=timeout,
            )
        return read_answer(response)

    @contextmanager
    def events(self, path: str, last_id: str | None) -> Iterator[httpx2.EventSource]:
        """Open a stream of events, after the event with the id `last_id`.

        Opening and reading the stream raise the errors of `ApiClient.ask`, and SSEError if the answer is not an event
        stream.
        """
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        timeout = httpx2.Timeout(EVENT_SILENCE_SECONDS, connect=CONNECT_SECONDS)
        with (
            self._errors(),
            self._http.sse(
                path, params=self._named(None), headers=headers, timeout=timeout, max_event_size=EVENT_BYTES_MOST
            ) as source,
        ):
            if source.response.status_code != 200:
                source.response.read()
                read_answer(source.response)
            yield source

    def _named(self, params: Mapping[str, str] | None) -> Mapping[str, str] | None:
        return params if self.tenant is None else {**(params or {}), "tenant": self.tenant}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn network errors into errors that the user can read."""
        try:
            yield
        except httpx2.SSEError:
            raise  # the answer is not an event stream, which is not the network's fault
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            hint = ": is `make dev` running there?" if self.where.is_local else f" ({error}){_through(self.where)}"
            raise Unreachable(f"nothing answers at {self.where.url}{hint}", is_lost=False) from None
        except httpx2.TransportError as error:
            what = str(error) or type(error).__name__
            lost = f"the answer of {self.where.url} was lost ({what}){_through(self.where)}"
            raise Unreachable(lost, is_lost=True) from None
        except httpx2.InvalidURL as error:
            raise CommandError(f"{self.where.url} is not a URL: {error}") from None


def proxy_variable(where: Address) -> str | None:
    """Return the name of the environment variable with the proxy's address, None if no proxy is used.

    The variable's value may contain a password, so only its name is shown.
    """
    parts = urlsplit(where.url)
    if where.is_local or proxy_bypass(parts.hostname or ""):
        return None
    names = (f"{parts.scheme}_proxy", "all_proxy")
    return next((name for low in names for name in (low, low.upper()) if os.environ.get(name)), None)


def _through(where: Address) -> str:
    name = proxy_variable(where)
    return "" if name is None else f"; the request went through the proxy that {name} names"


def read_answer(response: httpx2.Response) -> Json:
    """Return the JSON of a successful answer. Raises `ServerRefused` for any other answer."""
    content: object = {}
    if response.content:
        try:
            content = response.json()
        except ValueError:
            content = None
    if response.is_success and isinstance(content, dict):
        return content
    raise ServerRefused(response.status_code, _problem(content), _retry_seconds(response))


def _problem(content: object) -> Json:
    """Return the problem in an answer, of RFC 9457 or of OpenAI's shape under /v1.

    Returns an empty object if the answer has no problem.
    """
    if not isinstance(content, dict):
        return {}
    error = content.get("error")
    if isinstance(error, dict):
        return {"code": error.get("code") or error.get("type") or "", "detail": error.get("message") or ""}
    return content if "code" in content or "detail" in content else {}


def _retry_seconds(response: httpx2.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
