"""Cross-origin requests (Fetch Standard, CORS protocol): off unless `CORS_ORIGINS` lists an exact origin.

No answer allows credentials in the browser's sense, such as cookies: a page's script sends the API key in a header.
"""

from collections.abc import Collection
from dataclasses import replace

from ..base.messages import Reply, Request

# How many seconds a browser may remember a preflight's answer, which Chromium caps at 7,200 s.
_MAX_AGE = "7200"

# `ON_ANSWERS` are the CORS headers of every answer to a listed origin. `ON_PREFLIGHTS` are the headers that only the
# answer to a preflight adds.
ON_ANSWERS = {
    "Vary": "`Origin`, wherever CORS is on.",
    "Access-Control-Allow-Origin": "The request's origin, if `CORS_ORIGINS` lists it.",
    "Access-Control-Expose-Headers": "Which headers a page of that origin may read.",
}
ON_PREFLIGHTS = {
    "Access-Control-Allow-Methods": "The methods that the path takes.",
    "Access-Control-Allow-Headers": "The headers that a request may carry.",
    "Access-Control-Max-Age": "Seconds for which this answer may be remembered.",
}

_EXPOSED = (
    "Location, Retry-After, Idempotency-Replayed, Allow, WWW-Authenticate, X-Request-Id, openai-poll-after-ms, "
    "x-should-retry, X-Incomplete, X-Last-Line"
)
_SENDABLE = "Authorization, Content-Type, Idempotency-Key, X-Request-Id, Last-Event-ID"
# Further request headers that OpenAI's SDK for JavaScript sends, so a preflight must allow them.
_OF_SDKS = (
    "OpenAI-Organization",
    "OpenAI-Project",
    "User-Agent",
    "X-Stainless-Arch",
    "X-Stainless-Async",
    "X-Stainless-Custom-Poll-Interval",
    "X-Stainless-Helper-Method",
    "X-Stainless-Lang",
    "X-Stainless-OS",
    "X-Stainless-Package-Version",
    "X-Stainless-Poll-Helper",
    "X-Stainless-Read-Timeout",
    "X-Stainless-Retry-Count",
    "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version",
    "X-Stainless-Timeout",
)


def shared(reply: Reply, request: Request, origins: Collection[str]) -> Reply:
    """Add the CORS headers that let web pages of the listed origins read an answer.

    If `CORS_ORIGINS` lists no origin, the answer gets no CORS header.
    """
    if not origins:
        return reply
    headers = {**reply.headers, "Vary": "Origin"}
    origin = request.headers.get("origin")
    if origin is not None and origin in origins:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        if _is_preflight(request) and reply.status == 204:
            headers["Access-Control-Allow-Methods"] = reply.headers["Allow"]
            headers["Access-Control-Allow-Headers"] = ", ".join((_SENDABLE, *_OF_SDKS))
            headers["Access-Control-Max-Age"] = _MAX_AGE
    return replace(reply, headers=headers)


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers
