"""`POST /mcp`: the Model Context Protocol over stateless Streamable HTTP, one JSON-RPC message a request.

In the revision 2026-07-28 each request says in `params._meta` which revision it speaks, and repeats in headers what
intermediaries route by. In 2025-11-25 a client begins with `initialize`. Neither has a session here, so any isolate can
answer. A body that is no JSON object, and a key without the tool's scope, are refused as in the whole API.
"""

from typing import Any, Final, Literal, NotRequired, TypedDict
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...kernel.api.base.endpoint import Access, Answer, Endpoint
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, Request, json_reply
from ...kernel.api.base.problems import FORBIDDEN, FOREIGN_ORIGIN, Refusal, named
from ...kernel.api.base.services import Api
from ...kernel.api.base.views import shown
from ...kernel.api.tasks.submission import read_submission
from ...kernel.domain.version import VERSION
from . import tools

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SECONDS_MOST = 29.0  # for a request, since agents and proxies give up after 30 or 60 s
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32600, -32601, -32602
HEADER_MISMATCH, UNSUPPORTED_REVISION = -32020, -32022

_PREFIX = "io.modelcontextprotocol/"
_REVISION, _ABILITIES = f"{_PREFIX}protocolVersion", f"{_PREFIX}clientCapabilities"
_SERVER = {"name": "onceover", "version": VERSION}
_ABOUT: Final = {
    "capabilities": {"tools": {}},
    "instructions": "onceover works through long texts with a model in the background, part by part, in minutes or "
    "hours, for money. Submit with analyse, ask with wait until the task has ended, then read it with result. A task "
    "goes on while you do other work. If an answer is lost, repeat the call unchanged.",
}
_CACHEABLE = {"ttlMs": 300_000, "cacheScope": "public"}  # only a new deployment changes what they are about

type Json = dict[str, Any]


class McpMessage(BaseModel):
    """A JSON-RPC 2.0 request, or a notification if it has no `id`. `params` depend on `method`."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    jsonrpc: Literal["2.0"]
    method: str = Field(examples=["tools/list"])
    id: int | str = Field("", examples=[1])
    params: dict[str, Any] = Field({}, examples=[{}])


@shown
class McpAnswerView(TypedDict):
    """The JSON-RPC answer to a message: `result`, or `error` with a code. `id` is null if the message has none."""

    jsonrpc: Literal["2.0"]
    id: int | str | None
    result: NotRequired[dict[str, object]]
    error: NotRequired[dict[str, object]]


class _Refused(Exception):
    """Raised to refuse a message, with JSON-RPC's code and message, and perhaps data."""


async def serve_mcp(exchange: Exchange) -> Reply:
    """Answer one message. A notification needs no work, since nothing outlives a request."""
    body, headers = await read_submission(exchange), exchange.request.headers
    view, revision = McpAnswerView(jsonrpc="2.0", id=None), headers.get("mcp-protocol-version", LEGACY)
    try:
        message = _message(body)
        is_request = "id" in message.model_fields_set
        view["id"] = message.id if is_request else None
        revision = _revision(message, headers.get("mcp-protocol-version"))
        if not is_request:
            return Reply(202)
        if revision == MODERN:
            _check_headers(message, exchange)
        view["result"] = await _result(exchange, message, revision)
    except _Refused as refused:
        code, text, *data = refused.args
        view["error"] = {"code": code, "message": text} | ({"data": data[0]} if data else {})
        return json_reply(_status(code, revision), view)
    if revision == MODERN:
        view["result"] |= {"resultType": "complete", "_meta": {f"{_PREFIX}serverInfo": _SERVER}}
    return json_reply(200, view)


def _check_origin(request: Request, api: Api) -> None:
    """Refuse pages of foreign origins: a host name that leads here would let them in (DNS rebinding)."""
    origin, url = request.headers.get("origin"), urlsplit(request.url)
    if origin not in {None, f"{url.scheme}://{url.netloc}", *api.settings.cors_origins}:
        raise Refusal(FOREIGN_ORIGIN, "CORS_ORIGINS does not list the page's origin.")


def _message(body: Json) -> McpMessage:
    try:
        return McpMessage.model_validate(body)
    except ValidationError as error:
        at = error.errors()[0]["loc"][0]
        raise _Refused(INVALID_REQUEST, f"The body is no message of JSON-RPC 2.0: its {at} is wrong") from None


def _revision(message: McpMessage, header: str | None) -> str:
    """Return the revision that a message speaks: the older one if it names none."""
    meta = message.params.get("_meta")
    stated = (header, meta.get(_REVISION) if isinstance(meta, dict) else None)
    for revision in stated:
        if revision not in (None, MODERN, LEGACY):  # it may be any JSON
            data = {"supported": [MODERN, LEGACY], "requested": named(str(revision))}
            raise _Refused(UNSUPPORTED_REVISION, "This revision of the protocol is not supported", data)
    return MODERN if MODERN in stated else LEGACY


def _check_headers(message: McpMessage, exchange: Exchange) -> None:
    """Check that a request names its revision and its client's capabilities, and that its headers equal its body."""
    meta = message.params.get("_meta")
    if not isinstance(meta, dict) or not {_REVISION, _ABILITIES} <= meta.keys():
        raise _Refused(INVALID_PARAMS, f"params._meta must have {_REVISION} and {_ABILITIES}")
    stated = {"MCP-Protocol-Version": meta[_REVISION], "Mcp-Method": message.method}
    if message.method == "tools/call":
        stated["Mcp-Name"] = message.params.get("name")
    for header, value in stated.items():
        if exchange.request.headers.get(header.lower()) != value:
            raise _Refused(HEADER_MISMATCH, f"The header {header} does not equal the body")


async def _result(exchange: Exchange, message: McpMessage, revision: str) -> Json:
    match revision, message.method:
        case _, "tools/call":
            return await _call(exchange, message.params)
        case _, "tools/list":
            return {"tools": [tool.view() for tool in tools.TOOLS.values()], **_CACHEABLE}
        case "2026-07-28", "server/discover":
            return {"supportedVersions": [MODERN, LEGACY], **_ABOUT, **_CACHEABLE}
        case "2025-11-25", "initialize":  # a client of another revision goes on with this one, or leaves
            return {"protocolVersion": LEGACY, **_ABOUT, "serverInfo": _SERVER}
        case "2025-11-25", "ping":
            return {}
    raise _Refused(METHOD_NOT_FOUND, f"There is no method {named(message.method)}")


async def _call(exchange: Exchange, params: Json) -> Json:
    name, arguments = params.get("name"), params.get("arguments", {})
    if not isinstance(name, str) or name not in tools.TOOLS or not isinstance(arguments, dict):
        raise _Refused(INVALID_PARAMS, "name must be that of a tool, and arguments an object")
    texts, is_error = await tools.call(exchange, tools.TOOLS[name], arguments)
    return {"content": [{"type": "text", "text": text} for text in texts], "isError": is_error}


def _status(code: int, revision: str) -> int:
    """Return the HTTP status of an error. In the older revision, a valid message gets 200 with any error."""
    if revision == LEGACY and code in {METHOD_NOT_FOUND, INVALID_PARAMS}:
        return 200
    return 404 if code == METHOD_NOT_FOUND else 400


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/mcp",
        summary="Send a message of the Model Context Protocol, such as the call of a tool",
        handler=serve_mcp,
        access=Access.ANY_KEY,
        body=McpMessage,
        guard=_check_origin,
        seconds_most=SECONDS_MOST,
        answers=(
            Answer(200, f"The result. In {LEGACY} also an error", (McpAnswerView,)),
            Answer(202, "The notification was received"),
            Answer(400, "An error of JSON-RPC", (McpAnswerView,)),
            Answer(404, f"In {MODERN}: there is no such method", (McpAnswerView,)),
        ),
        problems=(FORBIDDEN, FOREIGN_ORIGIN),
    ),
)
