"""What keeps a command from being done. The messages are for whoever sits at the terminal."""

from .shapes import Json


class CommandError(Exception):
    """The command could not be run; the message says why and what to do."""


class Unreachable(CommandError):
    """No answer came. `is_lost`: the request went out, so the server may have acted on it."""

    def __init__(self, message: str, *, is_lost: bool) -> None:
        super().__init__(message)
        self.is_lost = is_lost


class Refused(CommandError):
    """The server answered, and not with what was asked for.

    `code` is the problem's, or empty where the answer is none of onceover's. `retry_seconds` is its `Retry-After`.
    """

    def __init__(self, status: int, problem: Json, retry_seconds: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.problem = problem
        self.retry_seconds = retry_seconds
        super().__init__(_message(status, problem))

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later without anybody doing anything."""
        # From 520 on it is Cloudflare that does not reach the Worker.
        return self.code not in _LASTING and (self.status in {429, 500, 502, 503, 504} or self.status >= 520)


# They last until somebody sets a variable, makes a key, or applies the migrations.
_LASTING = frozenset({"bad_configuration", "not_configured", "schema_missing", "no_webhook_key"})


def _message(status: int, problem: Json) -> str:
    if not problem:
        return f"the server answered {status} and nothing that onceover says: is the URL right?"
    said = [str(problem.get("detail") or problem.get("title") or f"the server answered {status}")]
    said += [f"  {error['field']}: {error['message']}" for error in problem.get("errors", ())]
    hint = _HINTS.get(str(problem.get("code", "")))
    return "\n".join([*said, *([hint] if hint else ())])


_HINTS = {
    "method_not_allowed": "Is the server older than this command line?",
    "unauthenticated": "Set ONCEOVER_KEY to a key of this deployment (`make key`, or `onceover keys make`).",
    "forbidden": "The key lacks a scope; `onceover keys list` shows what each key may do.",
    "not_configured": "Make the first key: `make key`, or `make key ARGS=--remote` for a deployment.",
    "schema_missing": "Apply the migrations: `make deploy`, or `npx wrangler d1 migrations apply DB --remote`.",
    "bad_configuration": "`onceover doctor` says which variables are meant.",
}
