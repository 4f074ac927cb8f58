"""The headers of every answer, and the meanings of headers that only some answers have."""

# Answers are data for programs: no browser may guess their type, cache, frame or run them.
ON_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}

REQUEST_ID = "X-Request-Id"

MEANINGS = {
    "Location": "The path of what was made.",
    "Idempotency-Replayed": "`true` when an earlier request with this key, or an earlier sending of it, made the task.",
    "Retry-After": "Seconds after which asking again makes sense; absent where it never does.",
    "WWW-Authenticate": "What to send: a key, or one with the scope that is named (RFC 6750).",
    "openai-poll-after-ms": "`Retry-After` in milliseconds, as helpers of OpenAI's SDKs read it.",
    "x-should-retry": "`false` where an SDK that repeats the request by itself can have no other answer.",
    "Allow": "The methods that the path takes.",
}

# Headers that an answer may lack although its description lists them.
SOMETIMES = frozenset({"Retry-After", "Idempotency-Replayed", "openai-poll-after-ms", "x-should-retry"})
