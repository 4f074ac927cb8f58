"""The headers of every answer, and the meanings of headers that only some answers have."""

# An answer of the API is data for programs: its headers forbid a browser to guess its type, and to cache, frame or run
# it.
ON_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}

REQUEST_ID = "X-Request-Id"

MEANINGS = {
    "Location": "The path of the new task or key.",
    "Idempotency-Replayed": "`true` if an earlier request with this key, or an earlier try of this one, made the task.",
    "Retry-After": "Seconds to wait before asking again; absent if asking again cannot help.",
    "WWW-Authenticate": "What is missing: a key, or a key with the named scope (RFC 6750).",
    "openai-poll-after-ms": "`Retry-After` in milliseconds, as helpers of OpenAI's SDKs read it.",
    "x-should-retry": "`false` if an SDK's own repetition of the request would get the same answer.",
    "Allow": "The methods that the path takes.",
    "Content-Disposition": "`attachment`, with the file's name.",
    "Content-Length": "How many bytes the file has.",
}

# Headers that an answer may lack although `/openapi.json` lists them for it.
SOMETIMES = frozenset({"Retry-After", "Idempotency-Replayed", "openai-poll-after-ms", "x-should-retry"})
