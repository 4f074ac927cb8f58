"""The errors that stop a command. The message of a `CommandError` is for the user at the terminal."""

import re

from .shapes import Json


class CommandError(Exception):
    """A command could not run. A `CommandError`'s message says why the command stopped, and what the user can do."""


class Unreachable(CommandError):
    """A request got no answer. `is_lost` says that the request was sent, so the server may have acted on it."""

    def __init__(self, message: str, *, is_lost: bool) -> None:
        super().__init__(message)
        self.is_lost = is_lost


class ServerRefused(CommandError):
    """The server refused a request.

    `code` is the problem's code, or empty if the answer is not onceover's. `retry_seconds` is the value of the header
    `Retry-After`, None without it.
    """

    def __init__(self, status: int, problem: Json, retry_seconds: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.problem = problem
        self.retry_seconds = retry_seconds
        super().__init__(_message(status, problem))

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later without a repair."""
        # Statuses from 520 on come from Cloudflare, when it got no good answer from the Worker.
        return self.code not in _LASTING and (self.status in {429, 500, 502, 503, 504} or self.status >= 520)


# The codes of refusals that last until an operator sets a variable, makes a key or applies migrations.
_LASTING = frozenset({"bad_configuration", "not_configured", "schema_missing", "no_webhook_key"})


def _message(status: int, problem: Json) -> str:
    if not problem:
        return f"the server answered {status}, but not as onceover does: is the URL right?"
    # The detail of a problem with wrong fields only repeats the fields, so it is left out.
    fields = [f"{flag_of(str(error['field']))}: {error['message']}" for error in problem.get("errors", ())]
    detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    if problem.get("code") == "invalid_fields" and not fields:
        # an error of OpenAI's shape names the wrong fields only in its detail
        fields = [_renamed(part) for part in detail.split("; ")]
    said = [re.sub(r"\bInput should\b", "must", one) for one in fields] or [_in_flags(detail)]
    hint = None if "REQUIRE_KEYS" in detail else _HINTS.get(str(problem.get("code", "")))
    return "\n".join([*said, *([hint] if hint else ())])


def flag_of(field: str) -> str:
    """Return the command-line flag for a field of the API, or the field's name if it has no flag.

    Numbers in a field's name are places in a list, and are left out.
    """
    path = [part for part in field.split(".") if not part.isdigit()]
    for length in range(len(path), 0, -1):
        flag = _FLAGS.get(".".join(path[:length]))
        if flag is not None:
            return " ".join([flag, *path[length:]])
    return field


def _renamed(part: str) -> str:
    field, colon, message = part.partition(": ")
    return f"{flag_of(field)}: {message}" if colon and " " not in field else part


def _in_flags(text: str) -> str:
    """Replace the names of the API's fields in a sentence by command-line flags."""
    return re.sub(r"\b[a-z]+(?:[A-Z][a-z]+)+\b", lambda match: _FLAGS.get(match[0], match[0]), text)


_FLAGS = {
    "input": "the text",
    "inputFile": "--input-file",
    "instructions": "--instructions",
    "reduce": "--reduce",
    "chunk.maxChars": "--chunk-chars",
    "chunk.overlapChars": "--chunk-overlap",
    "model": "--model",
    "maxOutputTokens": "--max-output-tokens",
    "temperature": "--temperature",
    "modelOptions": "--model-option",
    "metadata": "--metadata",
    "deadlineSeconds": "--deadline",
    "maxModelCalls": "--max-calls",
    "maxCost": "--max-cost",
    "notBefore": "--not-before",
    "outputSchema": "--schema",
    "strict": "--no-strict",
    "join": "--join",
    "maxGapShare": "--max-gap-share",
    "createdAfter": "--created-after",
    "createdBefore": "--created-before",
    "errorCode": "--error-code",
    "status": "--status",
    "limit": "--limit",
    "endpoint": "--endpoint",
    "completion_window": "--window",
    "input_file_id": "FILE",
    "onceover.maxModelCalls": "--max-calls",
    "onceover.maxCost": "--max-cost",
    "hours": "--hours",
    "label": "--label",
    "scopes": "--scopes",
    "expiresInSeconds": "--expires-in",
    "name": "NAME",
    "url": "URL",
    "event_types": "--events",
    "Idempotency-Key": "--idempotency-key",
}


_HINTS = {
    "method_not_allowed": "Is the server older than this command line?",
    "unauthenticated": "Set ONCEOVER_KEY to a key of this deployment (`make key`, or `onceover keys make`).",
    "forbidden": "The key lacks a scope; `onceover keys list` shows what each key may do.",
    "not_configured": "Make the first key: `make key`, or `make key ARGS=--remote` for a deployment.",
    "schema_missing": "Apply the migrations: `make deploy`, or `npx wrangler d1 migrations apply DB --remote`.",
    "bad_configuration": "`onceover doctor` names the variables.",
}
